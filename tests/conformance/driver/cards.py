"""Model cards, as `huggingface_hub` writes and reads them."""

from __future__ import annotations

from typing import Any

from huggingface_hub import ModelCard, metadata_update

from .stage import RELEASED, Stage, call, present

CARDED = "radboud/carded"
TEXT = "---\nlicense: mit\ntags:\n- stock\n---\n# Card\n"
ELSEWHERE = "asks huggingface.co itself, wherever the registry is"


@call("ModelCard.load", gives=["cc-by-4.0", True])
def _(stage: Stage) -> Any:
    card = ModelCard.load(RELEASED, token=stage.tokens["alice"])
    return [card.data.license, card.content == (stage.release / "README.md").read_text()]


@call("upload_file of a card", gives=["license:mit", "stock"])
def _(stage: Stage) -> Any:
    stage.api.create_repo(CARDED)
    stage.api.upload_file(repo_id=CARDED, path_in_repo="README.md", path_or_fileobj=TEXT.encode())
    return sorted(present(stage.api.model_info(CARDED).tags))


@call("upload_file of a card that cannot be read", raises="ValueError", says="Invalid metadata")
def _(stage: Stage) -> Any:
    stage.api.upload_file(repo_id=CARDED, path_in_repo="README.md", path_or_fileobj=b"---\na: [\n---\nx")


@call("upload_file of a card whose licence does not exist", raises="ValueError", says="no licence")
def _(stage: Stage) -> Any:
    card = TEXT.replace("mit", "cc-by-5.0").encode()
    stage.api.upload_file(repo_id=CARDED, path_in_repo="README.md", path_or_fileobj=card)


@call("ModelCard.validate", gives=None, since=2, why=ELSEWHERE)
def _(stage: Stage) -> Any:
    ModelCard(TEXT).validate()


@call("ModelCard.push_to_hub", gives=["apache-2.0", "# Pushed"], since=2, why=ELSEWHERE)
def _(stage: Stage) -> Any:
    ModelCard(TEXT.replace("mit", "apache-2.0").replace("Card", "Pushed")).push_to_hub(
        CARDED, token=stage.tokens["alice"]
    )
    card = ModelCard.load(CARDED, token=stage.tokens["alice"])
    return [card.data.license, card.text.strip()]


@call("metadata_update", gives=["text-to-image", "text-to-image"], since=2, why=ELSEWHERE)
def _(stage: Stage) -> Any:
    metadata_update(CARDED, {"pipeline_tag": "text-to-image"}, token=stage.tokens["alice"])
    return [stage.api.model_info(CARDED).pipeline_tag, ModelCard.load(CARDED).data.pipeline_tag]
