"""Lists of models: search, filters, order, pages."""

from __future__ import annotations

from typing import Any

from huggingface_hub.utils import build_hf_headers, paginate  # type: ignore[attr-defined]  # it has no __all__

from .stage import RELEASED, Stage, call, present

NUMBERED = [f"radboud/page-{number}" for number in range(5)]


@call("list_models(search)", gives=[[RELEASED], [RELEASED], []])
def _(stage: Stage) -> Any:
    return [_ids(stage, search=words) for words in ("CSPCA Cancer", "significant cancer", "unheard of")]


@call("list_models(filter)", gives=[[RELEASED], [RELEASED], []])
def _(stage: Stage) -> Any:
    asked = ("modality:MR", ["modality:MR", "license:cc-by-4.0"], ["modality:MR", "modality:CT"])
    return [_ids(stage, filter=tags) for tags in asked]


@call("list_models(author)", gives=[True, []])
def _(stage: Stage) -> Any:
    return [RELEASED in _ids(stage, author="radboud"), _ids(stage, author="lumc")]


@call("list_models(pipeline_tag)", gives=[[RELEASED], []])
def _(stage: Stage) -> Any:
    return [_ids(stage, pipeline_tag=tag) for tag in ("text-to-image", "text-generation")]


@call("list_models(limit, sort=last_modified)", gives=NUMBERED[:1:-1])
def _(stage: Stage) -> Any:
    for name in NUMBERED:
        stage.api.create_repo(name)
    return _ids(stage, limit=3, sort="last_modified")


@call("list_models(sort=created_at)", gives=NUMBERED[::-1])
def _(stage: Stage) -> Any:
    return _ids(stage, sort="created_at")[: len(NUMBERED)]


@call("list_models(sort=downloads)", gives=RELEASED)
def _(stage: Stage) -> Any:
    wait_for_downloads(stage)
    return _ids(stage, sort="downloads")[0]


@call("list_models(sort) by what cannot be sorted by", raises="BadRequestError", status=400, says="sort")
def _(stage: Stage) -> Any:
    return _ids(stage, sort="colour")


@call("list_models, page after page", gives=[True, True])
def _(stage: Stage) -> Any:
    address, headers = f"{stage.endpoint}/api/models", build_hf_headers(token=stage.tokens["alice"])
    paged = [row["id"] for row in paginate(address, params={"limit": 2, "sort": "createdAt"}, headers=headers)]
    return [paged == _ids(stage, sort="created_at"), len(paged) > 6]


@call("list_models(full)", gives=[6, "first", "cc-by-4.0"])
def _(stage: Stage) -> Any:
    found = next(iter(stage.api.list_models(search="cspca cancer", full=True)))
    return [len(present(found.siblings)), found.sha, present(found.card_data).license]


@call("list_models(cardData)", gives=["cc-by-4.0", None])
def _(stage: Stage) -> Any:
    found = next(iter(stage.api.list_models(search="cspca cancer", cardData=True)))
    return [present(found.card_data).license, found.siblings]


@call("list_models(expand)", gives=["radboud", False, None])
def _(stage: Stage) -> Any:
    found = next(iter(stage.api.list_models(search="cspca cancer", expand=["author", "gated"])))
    return [found.author, found.gated, found.tags]


@call("list_models: who sees a private one", gives=[True, False, False])
def _(stage: Stage) -> Any:
    return ["radboud/hidden" in [m.id for m in stage.speaking(who).list_models()] for who in ("alice", "lea", None)]


@call("get_model_tags", gives={})
def _(stage: Stage) -> Any:
    return stage.api.get_model_tags()


def wait_for_downloads(stage: Stage) -> None:
    """Until the downloads of the calls before are counted: the registry writes them down now and then."""
    import time

    for _ in range(200):
        if stage.api.model_info(RELEASED).downloads:
            return
        time.sleep(0.05)


def _ids(stage: Stage, **asked: Any) -> list[str]:
    return [model.id for model in stage.api.list_models(**asked)]
