"""Accounts and repositories."""

from __future__ import annotations

from typing import Any

from .stage import RELEASED, Stage, call


@call("whoami", gives={"name": "alice", "type": "user", "orgs": ["radboud"]})
def _(stage: Stage) -> Any:
    said = stage.api.whoami()
    return {"name": said["name"], "type": said["type"], "orgs": [org["name"] for org in said["orgs"]]}


@call("create_repo", gives={"url": f"REGISTRY/{RELEASED}", "repo_id": RELEASED, "repo_type": "model"})
def _(stage: Stage) -> Any:
    made = stage.api.create_repo(RELEASED)
    return {"url": str(made), "repo_id": made.repo_id, "repo_type": made.repo_type}


@call("create_repo, twice", raises="HfHubHTTPError", status=409, says="exists already")
def _(stage: Stage) -> Any:
    return stage.api.create_repo(RELEASED)


@call("create_repo, twice in another case", raises="HfHubHTTPError", status=409, says="by case alone")
def _(stage: Stage) -> Any:
    return stage.api.create_repo(RELEASED.upper().replace("RADBOUD", "radboud"))


@call("create_repo(exist_ok)", gives=RELEASED)
def _(stage: Stage) -> Any:
    return stage.api.create_repo(RELEASED, exist_ok=True).repo_id


@call("create_repo without a namespace", gives="radboud/plain")
def _(stage: Stage) -> Any:
    return stage.api.create_repo("plain").repo_id


@call("create_repo(private)", gives=[True, False])
def _(stage: Stage) -> Any:
    stage.api.create_repo("radboud/hidden", private=True)
    return [stage.api.model_info("radboud/hidden").private, stage.speaking("lea").repo_exists("radboud/hidden")]


@call("create_repo in another's namespace", raises="HfHubHTTPError", status=403, says="lumc")
def _(stage: Stage) -> Any:
    return stage.api.create_repo("lumc/ours")


@call("create_repo with a name that is none", raises="HFValidationError")
def _(stage: Stage) -> Any:
    return stage.api.create_repo("radboud/a--b..c")


@call("a name with dots, dashes and underscores", gives=["radboud/T2w_v1.5-csPCa", "# Dots\n"])
def _(stage: Stage) -> Any:
    name = "radboud/T2w_v1.5-csPCa"
    stage.api.create_repo(name)
    stage.api.upload_file(path_or_fileobj=b"# Dots\n", path_in_repo="README.md", repo_id=name)
    path = stage.api.hf_hub_download(name, "README.md", cache_dir=stage.folder("dots"))
    with open(path) as file:  # noqa: PTH123  # a client may give a text
        return [stage.api.model_info(name).id, file.read()]


@call("repo_exists", gives=[True, False])
def _(stage: Stage) -> Any:
    return [stage.api.repo_exists(RELEASED), stage.api.repo_exists("radboud/absent")]


@call("update_repo_settings(private)", gives=[True, False, False, True])
def _(stage: Stage) -> Any:
    seen = []
    for private in (True, False):
        stage.api.update_repo_settings("radboud/plain", private=private)
        seen += [stage.api.model_info("radboud/plain").private, stage.speaking("lea").repo_exists("radboud/plain")]
    return seen


@call("update_repo_settings by another namespace", raises="HfHubHTTPError", status=403, says="lumc")
def _(stage: Stage) -> Any:
    stage.speaking("lea").update_repo_settings("radboud/plain", private=True)


@call("auth_check", gives=None)
def _(stage: Stage) -> Any:
    stage.api.auth_check("radboud/hidden")


@call("auth_check of another's private repository", raises="RepositoryNotFoundError", status=404)
def _(stage: Stage) -> Any:
    stage.speaking("lea").auth_check("radboud/hidden")


@call("auth_check(write)", gives=None, since=1, why="no such argument")
def _(stage: Stage) -> Any:
    stage.api.auth_check(RELEASED, write=True)


@call("auth_check(write) by a reader", raises="HfHubHTTPError", status=403, since=1, why="no such argument")
def _(stage: Stage) -> Any:
    stage.speaking("rob").auth_check(RELEASED, write=True)


@call("delete_repo", gives=[True, False])
def _(stage: Stage) -> Any:
    stage.api.create_repo("radboud/gone")
    before = stage.api.repo_exists("radboud/gone")
    stage.api.delete_repo("radboud/gone")
    return [before, stage.api.repo_exists("radboud/gone")]


@call("delete_repo of a missing one", raises="RepositoryNotFoundError", status=404)
def _(stage: Stage) -> Any:
    stage.api.delete_repo("radboud/gone")


@call("delete_repo(missing_ok)", gives=None)
def _(stage: Stage) -> Any:
    stage.api.delete_repo("radboud/gone", missing_ok=True)
