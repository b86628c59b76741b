"""Publishing: commits of files, whole folders, deletions; and what is refused."""

from __future__ import annotations

from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete

from .stage import EMBEDDING, FILES, RELEASED, Stage, call

SMALL = "radboud/small"


@call("upload_folder", gives={"repo_id": RELEASED, "url": f"REGISTRY/{RELEASED}/commit/first", "files": FILES})
def _(stage: Stage) -> Any:
    done = stage.api.upload_folder(repo_id=RELEASED, folder_path=stage.release, commit_message="First release")
    stage.names(done.oid, "first")
    files = sorted(stage.api.list_repo_files(RELEASED))
    return {"repo_id": done.repo_url.repo_id, "url": done.commit_url, "files": files}


@call("upload_file", gives=["README.md"])
def _(stage: Stage) -> Any:
    stage.names(stage.api.model_info(stage.api.create_repo(SMALL).repo_id).sha or "", "made")
    done = stage.api.upload_file(repo_id=SMALL, path_in_repo="README.md", path_or_fileobj=b"# Soon\n")
    stage.names(done.oid, "soon")
    return stage.api.list_repo_files(SMALL)


@call("upload_file of what is there already: no commit", gives="soon")
def _(stage: Stage) -> Any:
    return stage.api.upload_file(repo_id=SMALL, path_in_repo="README.md", path_or_fileobj=b"# Soon\n").oid


@call("create_commit(parent_commit)", gives=["# Later", "More words", "later"])
def _(stage: Stage) -> Any:
    done = stage.api.create_commit(
        SMALL, [CommitOperationAdd("README.md", b"# Later\n")], commit_message="# Later",
        commit_description="More words", parent_commit=stage.commit("soon"),
    )  # fmt: skip
    stage.names(done.oid, "later")
    return [done.commit_message, done.commit_description, stage.api.model_info(SMALL).sha]


@call("create_commit on a stale parent", raises="HfHubHTTPError", status=412, says="moved on")
def _(stage: Stage) -> Any:
    operations = [CommitOperationAdd("README.md", b"# Late\n")]
    stage.api.create_commit(SMALL, operations, commit_message="late", parent_commit=stage.commit("soon"))


@call("create_commit that adds and deletes", gives=[".gitattributes"])
def _(stage: Stage) -> Any:
    operations: list[CommitOperationAdd | CommitOperationDelete] = [
        CommitOperationDelete("README.md"), CommitOperationAdd(".gitattributes", b"*.json text\n"),
    ]  # fmt: skip
    stage.names(stage.api.create_commit(SMALL, operations, commit_message="swap").oid, "swapped")
    return stage.api.list_repo_files(SMALL)


@call("delete_file", gives=[[], ["README.md"]])
def _(stage: Stage) -> Any:
    stage.names(stage.api.delete_file(".gitattributes", repo_id=SMALL).oid, "empty")
    return [stage.api.list_repo_files(SMALL), stage.api.list_repo_files(SMALL, revision=stage.commit("later"))]


@call("delete_file of a missing one", raises="EntryNotFoundError", status=404)
def _(stage: Stage) -> Any:
    stage.api.delete_file("README.md", repo_id=SMALL)


@call("delete_folder of a missing one", raises="EntryNotFoundError", status=404)
def _(stage: Stage) -> Any:
    stage.api.delete_folder("attestations", repo_id=SMALL)


@call("upload_file of a pickle", raises="HfHubHTTPError", status=422, says="weights-format")
def _(stage: Stage) -> Any:
    stage.api.upload_file(repo_id=SMALL, path_in_repo="model.bin", path_or_fileobj=b"\x80\x04K\x01.")


@call("upload_file over a signed card", raises="HfHubHTTPError", status=422, says="card")
def _(stage: Stage) -> Any:
    card = (stage.release / "README.md").read_bytes().replace(b"one scanner", b"two scanners")
    stage.api.upload_file(repo_id=RELEASED, path_in_repo="README.md", path_or_fileobj=card)


@call("delete_file of published weights", raises="HfHubHTTPError", status=422, says="weights-missing")
def _(stage: Stage) -> Any:
    stage.api.delete_file(EMBEDDING, repo_id=RELEASED)


@call("upload_file by another namespace", raises="HfHubHTTPError", status=403, says="lumc")
def _(stage: Stage) -> Any:
    stage.speaking("lea").upload_file(repo_id=SMALL, path_in_repo="README.md", path_or_fileobj=b"# Theirs\n")


@call("upload_file by a reader", raises="HfHubHTTPError", status=403, says="rob")
def _(stage: Stage) -> Any:
    stage.speaking("rob").upload_file(repo_id=SMALL, path_in_repo="README.md", path_or_fileobj=b"# Read\n")


@call("upload_file to a missing repository", raises="RepositoryNotFoundError", status=404)
def _(stage: Stage) -> Any:
    stage.api.upload_file(repo_id="radboud/absent", path_in_repo="README.md", path_or_fileobj=b"x")


@call("upload_file to a missing branch", raises="RevisionNotFoundError", status=404)
def _(stage: Stage) -> Any:
    stage.api.upload_file(repo_id=SMALL, path_in_repo="README.md", path_or_fileobj=b"x", revision="absent")


@call("list_repo_commits", gives=[["empty", "swapped", "later", "soon", "made"], "# Later", "More words", ["alice"]])
def _(stage: Stage) -> Any:
    commits = stage.api.list_repo_commits(SMALL)
    later = commits[2]
    return [[commit.commit_id for commit in commits], later.title, later.message, later.authors]


@call("list_repo_commits(revision, formatted)", gives=["later", "# Later"])
def _(stage: Stage) -> Any:
    newest = stage.api.list_repo_commits(SMALL, revision=stage.commit("later"), formatted=True)[0]
    return [newest.commit_id, newest.formatted_title]


@call(
    "delete_repo of published releases by a publisher", raises="HfHubHTTPError", status=403, says="published releases"
)
def _(stage: Stage) -> Any:
    stage.api.delete_repo(RELEASED)
