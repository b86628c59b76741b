"""Loading an embedding: the right base or none, no confusion of tokens, and the very numbers of the file."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from embhub.artifact import embedding as artifact
from embhub.artifact import fingerprint
from embhub.artifact.embedding import Embedding
from embhub.diffusion.bases import live_fingerprint as live_base
from embhub.diffusion.bases.found import quiet
from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.families import encoders
from embhub.diffusion.generation.loading import (
    BaseWarning,
    TokenCollisionError,
    UnverifiedWarning,
    WrongBaseError,
    load_into,
)
from embhub.errors import ArtifactError, UsageError
from tests.support import pipelines
from tests.support.quick import quick

KINDS = ("clip", "bert")


@pytest.fixture(params=quick(KINDS[:1], thorough=KINDS[1:]))
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return pipelines.write(tmp_path / "base", encoder=request.param)


@pytest.fixture(autouse=True)
def strict_warnings() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error", BaseWarning)
        yield


def embed(folder: Path | None, token: str = "<cspca>", *, count: int = 4, width: int = pipelines.WIDTH) -> Embedding:
    rows = np.random.default_rng(len(token)).normal(size=(count, width)).astype(np.float32)
    base = None if folder is None else fingerprint.take(folder)
    return artifact.build({"emb_params": rows}, token=token, base=base, base_name="tiny", training={}, dtype="float16")


def test_a_live_pipeline_has_the_fingerprint_of_its_folder(folder: Path) -> None:
    assert live_base.take(load_pipeline(folder)) == fingerprint.take(folder)


@pytest.mark.parametrize("dtype", quick([torch.float16], thorough=[torch.bfloat16]))
def test_lower_precision_is_the_same_base(folder: Path, dtype: torch.dtype) -> None:
    live = live_base.take(load_pipeline(folder, dtype=dtype))
    assert fingerprint.compare(fingerprint.take(folder), live).level == "exact"


@pytest.mark.parametrize("count", [1, 2, 8])
def test_the_numbers_of_the_file_are_in_the_pipeline(folder: Path, count: int) -> None:
    embedding, pipe = embed(folder, count=count), load_pipeline(folder)
    assert load_into(pipe, embedding) == "<cspca>"
    names = ["<cspca>", *(f"<cspca>_{i}" for i in range(1, count))]
    table = pipe.text_encoder.get_input_embeddings().weight
    assert not table.requires_grad
    rows = table[pipe.tokenizer.convert_tokens_to_ids(names)].numpy()
    assert np.array_equal(rows, embedding.tensors["emb_params"].astype(np.float32))


def test_several_sources(folder: Path, tmp_path: Path) -> None:
    class Verified:
        embedding = embed(folder, "<b>")

    path = tmp_path / "release" / "learned_embeds.safetensors"
    path.parent.mkdir()
    path.write_bytes(embed(folder, "<a>").data)
    pipe = load_pipeline(folder)
    with pytest.warns(UnverifiedWarning, match="not signed"):
        assert [load_into(pipe, source) for source in (path.parent, Verified())] == ["<a>", "<b>"]
    with pytest.warns(UnverifiedWarning, match="not signed"):
        assert load_into(load_pipeline(folder), str(path)) == "<a>"


def test_a_second_embedding_still_sees_the_same_base(folder: Path) -> None:
    pipe = load_pipeline(folder)
    load_into(pipe, embed(folder, "<a>", count=5))
    assert live_base.take(pipe) == fingerprint.take(folder)
    load_into(pipe, embed(folder, "<b>"))


def test_an_embedding_of_the_stock_loader_does_not_hide_the_base(folder: Path) -> None:
    pipe = load_pipeline(folder)
    with quiet():
        pipe.load_textual_inversion(torch.randn(3, pipelines.WIDTH), token="Other")
    assert live_base.take(pipe) == fingerprint.take(folder)
    load_into(pipe, embed(folder))


def test_the_callers_random_numbers_are_left_alone(folder: Path) -> None:
    pipe, embedding = load_pipeline(folder), embed(folder)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_into(pipe, embedding)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"encoder": "bert"}, "vocabulary"),
        ({"seed": 1}, "another token table"),
        ({"prediction": "v_prediction"}, "prediction type epsilon instead of v_prediction"),
        ({"width": 48}, "32 wide instead of 48"),
    ],
)
def test_the_wrong_base_is_refused_with_the_reason(tmp_path: Path, other: dict[str, Any], reason: str) -> None:
    pipe = load_pipeline(pipelines.write(tmp_path / "base"))
    foreign = pipelines.write(tmp_path / "foreign", **other)
    before = len(pipe.tokenizer)
    with pytest.raises(WrongBaseError, match=reason):
        load_into(pipe, embed(foreign, width=other.get("width", pipelines.WIDTH)))
    assert len(pipe.tokenizer) == before


def test_a_fine_tuned_base_is_used_with_a_warning(folder: Path) -> None:
    pipe = load_pipeline(folder)
    with torch.no_grad():
        for weight in pipe.unet.parameters():
            weight.add_(0.1 * weight.abs().mean() * torch.randn_like(weight))
    with pytest.warns(BaseWarning, match="fine-tuned"):
        load_into(pipe, embed(folder))


def test_an_unknown_base_is_compared_by_width_with_a_warning(folder: Path) -> None:
    with pytest.warns(BaseWarning, match="only widths"):
        load_into(load_pipeline(folder), embed(None))
    with pytest.raises(WrongBaseError, match="width 40"):
        load_into(load_pipeline(folder), embed(None, width=40))


def test_the_same_token_twice(folder: Path) -> None:
    pipe = load_pipeline(folder)
    load_into(pipe, embed(folder))
    with pytest.raises(TokenCollisionError, match="already knows <cspca>"):
        load_into(pipe, embed(folder))


@pytest.mark.parametrize("loaded", ["cspca", "<cspca>-late", "<cspca>_1", "sp"])
def test_tokens_inside_one_another(folder: Path, loaded: str) -> None:
    pipe = load_pipeline(folder)
    with quiet():
        pipe.load_textual_inversion(torch.randn(2, pipelines.WIDTH), token=loaded)
    rows = pipe.text_encoder.get_input_embeddings().weight.shape
    with pytest.raises(TokenCollisionError):
        load_into(pipe, embed(folder))
    assert pipe.text_encoder.get_input_embeddings().weight.shape == rows


def test_brackets_keep_similar_tokens_apart(folder: Path) -> None:
    pipe = load_pipeline(folder)
    load_into(pipe, embed(folder, "<cspca>", count=2))
    load_into(pipe, embed(folder, "<cspca-b>", count=2))
    assert pipe.maybe_convert_prompt("a <cspca-b>", pipe.tokenizer) == "a <cspca-b> <cspca-b>_1"


def test_old_clip_configurations_pool_at_the_end_of_text(tmp_path: Path) -> None:
    folder = pipelines.write(tmp_path)
    pipe = load_pipeline(folder)
    inner = [part for part in pipe.text_encoder.modules() if hasattr(part, "eos_token_id")]
    assert inner
    for part in inner:
        part.eos_token_id = 2
    load_into(pipe, embed(folder))
    ids = [
        pipe.tokenizer(pipe.maybe_convert_prompt(f"a <cspca> {word}", pipe.tokenizer), return_tensors="pt").input_ids
        for word in ("x", "y")
    ]
    with torch.no_grad():
        pooled = [pipe.text_encoder(row).pooler_output for row in ids]
    # Pooled at the placeholder, which comes first, both would be equal.
    assert not torch.allclose(pooled[0], pooled[1], rtol=1e-6)


def test_a_pickle_is_refused_by_name(folder: Path, tmp_path: Path) -> None:
    torch.save({"<cspca>": torch.randn(2, 32)}, tmp_path / "x.safetensors")
    with pytest.raises(ArtifactError, match="zip archive"):
        load_into(load_pipeline(folder), tmp_path / "x.safetensors")


def test_no_such_file(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        load_into(load_pipeline(folder), tmp_path / "absent.safetensors")


def test_the_base_rows_are_remembered_before_a_resize(folder: Path) -> None:
    pipe = load_pipeline(folder)
    before = live_base.base_rows(encoders(pipe)[0])
    load_into(pipe, embed(folder, count=7))
    assert (
        live_base.base_rows(encoders(pipe)[0]) == before == pipe.text_encoder.get_input_embeddings().weight.shape[0] - 7
    )
