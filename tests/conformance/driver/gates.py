"""Gated repositories: who sees what, asking for access, answering; and what an admin disabled."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from huggingface_hub import get_hf_file_metadata, hf_hub_url

from .stage import Stage, call, present

GATED = "radboud/gated"


def ask(stage: Stage, account: str) -> str:
    """What the button on a gated repository's page does; stock clients have no call for it."""
    return stage.post("POST", f"/{GATED}/ask-access", {}, account=account)["status"]


def read(stage: Stage, account: str | None) -> str:
    """The gated repository's only file, by somebody, into a new cache: a client falls back to what it has."""
    cache = tempfile.mkdtemp(dir=stage.folder("gated"))
    return Path(stage.speaking(account).hf_hub_download(GATED, "README.md", cache_dir=cache)).read_text()


@call("update_repo_settings(gated)", gives=["manual", True])
def _(stage: Stage) -> Any:
    stage.api.create_repo(GATED)
    stage.api.upload_file(repo_id=GATED, path_in_repo="README.md", path_or_fileobj=b"# Gated\n")
    stage.api.update_repo_settings(GATED, gated="manual")
    return [stage.api.model_info(GATED).gated, read(stage, "alice") == "# Gated\n"]


@call("list_models(gated)", gives=[[GATED], False])
def _(stage: Stage) -> Any:
    open_ones = [model.id for model in stage.api.list_models(gated=False)]
    return [[model.id for model in stage.api.list_models(gated=True)], GATED in open_ones]


@call("model_info of a gated repository", gives=["manual", ["README.md"]])
def _(stage: Stage) -> Any:
    info = stage.speaking("lea").model_info(GATED)
    return [info.gated, [s.rfilename for s in present(info.siblings)]]


@call("list_repo_files of a gated repository", gives=["README.md"])
def _(stage: Stage) -> Any:
    return stage.speaking(None).list_repo_files(GATED)


@call("hf_hub_download of a gated file", raises="GatedRepoError", status=403, says="ask for access")
def _(stage: Stage) -> Any:
    return read(stage, "lea")


@call("hf_hub_download of a gated file without a token", raises="GatedRepoError", status=401)
def _(stage: Stage) -> Any:
    return read(stage, None)


@call("snapshot_download of a gated repository", raises="GatedRepoError", status=403)
def _(stage: Stage) -> Any:
    return stage.speaking("lea").snapshot_download(GATED, cache_dir=stage.folder("gated-snapshot"))


@call("file_exists in a gated repository", raises="GatedRepoError", status=403)
def _(stage: Stage) -> Any:
    return stage.speaking("lea").file_exists(GATED, "README.md")


@call("auth_check of a gated repository", raises="GatedRepoError", status=403)
def _(stage: Stage) -> Any:
    stage.speaking("lea").auth_check(GATED)


@call("upload_file to a gated repository by another namespace", raises="HfHubHTTPError", status=403)
def _(stage: Stage) -> Any:
    stage.speaking("lea").upload_file(repo_id=GATED, path_in_repo="README.md", path_or_fileobj=b"# Theirs\n")


@call("list_pending_access_requests", gives=[[], "pending", [["lea", "pending", True]]])
def _(stage: Stage) -> Any:
    before = list(stage.api.list_pending_access_requests(GATED))
    asked = ask(stage, "lea")
    found = stage.api.list_pending_access_requests(GATED)
    return [before, asked, [[item.username, item.status, item.timestamp is not None] for item in found]]


@call("hf_hub_download while the request is pending", raises="GatedRepoError", status=403, says="awaits an answer")
def _(stage: Stage) -> Any:
    return read(stage, "lea")


@call("list_pending_access_requests by another namespace", raises="HfHubHTTPError", status=403)
def _(stage: Stage) -> Any:
    return list(stage.speaking("lea").list_pending_access_requests(GATED))


@call("accept_access_request by another namespace", raises="HfHubHTTPError", status=403)
def _(stage: Stage) -> Any:
    stage.speaking("lea").accept_access_request(GATED, "lea")


@call("accept_access_request", gives=["# Gated\n", ["lea"], []])
def _(stage: Stage) -> Any:
    stage.api.accept_access_request(GATED, "lea")
    accepted = [item.username for item in stage.api.list_accepted_access_requests(GATED)]
    return [read(stage, "lea"), accepted, list(stage.api.list_pending_access_requests(GATED))]


@call("auth_check after the request was accepted", gives=None)
def _(stage: Stage) -> Any:
    stage.speaking("lea").auth_check(GATED)


@call("accept_access_request, twice", raises="HfHubHTTPError", status=404, says="already")
def _(stage: Stage) -> Any:
    stage.api.accept_access_request(GATED, "lea")


@call("cancel_access_request", gives=["lea"])
def _(stage: Stage) -> Any:
    stage.api.cancel_access_request(GATED, "lea")
    return [item.username for item in stage.api.list_pending_access_requests(GATED)]


@call("reject_access_request", gives=["lea"])
def _(stage: Stage) -> Any:
    stage.api.reject_access_request(GATED, "lea", rejection_reason="no agreement yet")
    return [item.username for item in stage.api.list_rejected_access_requests(GATED)]


@call("hf_hub_download after a rejection", raises="GatedRepoError", status=403, says="no agreement yet")
def _(stage: Stage) -> Any:
    return read(stage, "lea")


@call("accept_access_request(request_id)", gives="# Gated\n", since=2, why="no such argument")
def _(stage: Stage) -> Any:
    (request,) = stage.api.list_rejected_access_requests(GATED)
    stage.api.accept_access_request(GATED, request_id=request.request_id)
    return read(stage, "lea")


@call("grant_access", gives=["# Gated\n", True])
def _(stage: Stage) -> Any:
    stage.api.grant_access(GATED, "rita")
    return [read(stage, "rita"), "rita" in [item.username for item in stage.api.list_accepted_access_requests(GATED)]]


@call("grant_access, twice", raises="BadRequestError", status=400, says="already")
def _(stage: Stage) -> Any:
    stage.api.grant_access(GATED, "rita")


@call("grant_access to an account that is not there", raises="HfHubHTTPError", status=404, says="nobody")
def _(stage: Stage) -> Any:
    stage.api.grant_access(GATED, "nobody")


@call("accept_access_request of who never asked", raises="HfHubHTTPError", status=404)
def _(stage: Stage) -> Any:
    stage.api.accept_access_request(GATED, "alice")


@call("list_pending_access_requests of an open repository", raises="BadRequestError", status=400, says="not gated")
def _(stage: Stage) -> Any:
    return list(stage.api.list_pending_access_requests("radboud/plain"))


@call("update_repo_settings(gated=auto)", gives=["accepted", "# Gated\n"])
def _(stage: Stage) -> Any:
    stage.api.update_repo_settings(GATED, gated="auto")
    return [ask(stage, "gus"), read(stage, "gus")]


@call("update_repo_settings(gated=False)", gives=[False, "# Gated\n"])
def _(stage: Stage) -> Any:
    stage.api.update_repo_settings(GATED, gated=False)
    return [stage.api.model_info(GATED).gated, read(stage, None)]


@call("a file of a disabled repository", raises="DisabledRepoError", status=403)
def _(stage: Stage) -> Any:
    stage.post("PUT", f"/api/models/{GATED}/settings", {"disabled": True}, account="admin")
    get_hf_file_metadata(hf_hub_url(GATED, "README.md", endpoint=stage.endpoint), token=stage.tokens["alice"])


@call("model_info of a disabled repository", gives=True)
def _(stage: Stage) -> Any:
    return stage.api.model_info(GATED).disabled


@call("upload_file to a disabled repository", raises="DisabledRepoError", status=403)
def _(stage: Stage) -> Any:
    stage.api.upload_file(repo_id=GATED, path_in_repo="README.md", path_or_fileobj=b"# Back\n")
