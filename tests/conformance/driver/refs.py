"""Branches and tags."""

from __future__ import annotations

from typing import Any

from .commits import SMALL
from .stage import BUNDLE, RELEASED, Stage, call, same


@call("list_repo_refs", gives={"branches": {"main": ["first", "refs/heads/main"]}, "tags": {}})
def _(stage: Stage) -> Any:
    return _refs(stage)


@call("list_repo_refs(include_pull_requests)", gives=[])
def _(stage: Stage) -> Any:
    return stage.api.list_repo_refs(RELEASED, include_pull_requests=True).pull_requests


@call("create_tag", gives="first")
def _(stage: Stage) -> Any:
    stage.api.create_tag(RELEASED, tag="v1.0.0", tag_message="The first")
    return stage.api.model_info(RELEASED, revision="v1.0.0").sha


@call("create_tag, twice", raises="HfHubHTTPError", status=409)
def _(stage: Stage) -> Any:
    stage.api.create_tag(RELEASED, tag="v1.0.0")


@call("create_tag(exist_ok)", gives=None)
def _(stage: Stage) -> Any:
    stage.api.create_tag(RELEASED, tag="v1.0.0", exist_ok=True)


@call("create_tag at a missing revision", raises="RevisionNotFoundError", status=404)
def _(stage: Stage) -> Any:
    stage.api.create_tag(RELEASED, tag="v9", revision="absent")


@call("create_branch", gives="first")
def _(stage: Stage) -> Any:
    stage.api.create_branch(RELEASED, branch="trial")
    return stage.api.model_info(RELEASED, revision="trial").sha


@call("create_branch with a slash, from a commit", gives=["first", True, True, 6])
def _(stage: Stage) -> Any:
    stage.api.create_branch(RELEASED, branch="a/b", revision=stage.commit("first"))
    path = stage.api.hf_hub_download(RELEASED, BUNDLE, revision="a/b", cache_dir=stage.folder("slash"))
    return [
        stage.api.model_info(RELEASED, revision="a/b").sha, same(stage, path, BUNDLE),
        stage.api.file_exists(RELEASED, BUNDLE, revision="a/b"),
        len(stage.api.list_repo_files(RELEASED, revision="a/b")),
    ]  # fmt: skip


@call("create_branch, twice", raises="HfHubHTTPError", status=409)
def _(stage: Stage) -> Any:
    stage.api.create_branch(RELEASED, branch="a/b")


@call("create_branch(exist_ok)", gives=None)
def _(stage: Stage) -> Any:
    stage.api.create_branch(RELEASED, branch="a/b", exist_ok=True)


@call("create_branch from a missing revision", raises="RevisionNotFoundError", status=404)
def _(stage: Stage) -> Any:
    stage.api.create_branch(RELEASED, branch="late", revision="absent")


@call("create_branch by a reader", raises="HfHubHTTPError", status=403)
def _(stage: Stage) -> Any:
    stage.speaking("rob").create_branch(RELEASED, branch="late")


@call("upload_file to a branch with a slash", gives=[["README.md"], [], "aside"])
def _(stage: Stage) -> Any:
    stage.api.create_branch(SMALL, branch="a/b")
    done = stage.api.upload_file(repo_id=SMALL, path_in_repo="README.md", path_or_fileobj=b"# Aside\n", revision="a/b")
    stage.names(done.oid, "aside")
    newest = stage.api.list_repo_commits(SMALL, revision="a/b")[0].commit_id
    return [stage.api.list_repo_files(SMALL, revision="a/b"), stage.api.list_repo_files(SMALL), newest]


@call(
    "list_repo_refs, of branches and tags",
    gives={
        "branches": {name: ["first", f"refs/heads/{name}"] for name in ("a/b", "main", "trial")},
        "tags": {"v1.0.0": ["first", "refs/tags/v1.0.0"]},
    },
)
def _(stage: Stage) -> Any:
    return _refs(stage)


@call("a ref by its whole name as revision", gives=["first", "first"])
def _(stage: Stage) -> Any:
    return [stage.api.model_info(RELEASED, revision=ref).sha for ref in ("refs/heads/a/b", "refs/tags/v1.0.0")]


@call("delete_branch", gives=["main", "trial"])
def _(stage: Stage) -> Any:
    stage.api.delete_branch(RELEASED, branch="a/b")
    return [branch.name for branch in stage.api.list_repo_refs(RELEASED).branches]


@call("delete_branch of a missing one", raises="RevisionNotFoundError", status=404)
def _(stage: Stage) -> Any:
    stage.api.delete_branch(RELEASED, branch="a/b")


@call("delete_branch of main", raises="HfHubHTTPError", status=403, says="main")
def _(stage: Stage) -> Any:
    stage.api.delete_branch(RELEASED, branch="main")


@call("delete_tag", gives=[])
def _(stage: Stage) -> Any:
    stage.api.delete_tag(RELEASED, tag="v1.0.0")
    return [tag.name for tag in stage.api.list_repo_refs(RELEASED).tags]


@call("delete_tag of a missing one", raises="RevisionNotFoundError", status=404)
def _(stage: Stage) -> Any:
    stage.api.delete_tag(RELEASED, tag="v1.0.0")


def _refs(stage: Stage) -> Any:
    refs = stage.api.list_repo_refs(RELEASED)
    return {
        kind: {ref.name: [ref.target_commit, ref.ref] for ref in getattr(refs, kind)} for kind in ("branches", "tags")
    }
