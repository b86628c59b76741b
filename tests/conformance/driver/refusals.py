"""What is missing, unknown or not offered: each as the client's own exception."""

from __future__ import annotations

from typing import Any

from huggingface_hub import CommitOperationAdd, lfs
from huggingface_hub.lfs import UploadInfo

from .stage import EMBEDDING, RELEASED, Stage, call

ABSENT = "radboud/absent"


@call("model_info of a missing repository", raises="RepositoryNotFoundError", status=404)
def _(stage: Stage) -> Any:
    stage.api.model_info(ABSENT)


@call("model_info of a missing revision", raises="RevisionNotFoundError", status=404)
def _(stage: Stage) -> Any:
    stage.api.model_info(RELEASED, revision="absent")


@call("hf_hub_download of a missing file", raises="EntryNotFoundError", status=404)
def _(stage: Stage) -> Any:
    stage.api.hf_hub_download(RELEASED, "absent.bin", cache_dir=stage.folder("missing"))


@call("hf_hub_download of a missing revision", raises="RevisionNotFoundError", status=404)
def _(stage: Stage) -> Any:
    stage.api.hf_hub_download(RELEASED, EMBEDDING, revision="absent", cache_dir=stage.folder("missing"))


@call("hf_hub_download of a missing repository", raises="RepositoryNotFoundError", status=404)
def _(stage: Stage) -> Any:
    stage.api.hf_hub_download(ABSENT, EMBEDDING, cache_dir=stage.folder("missing"))


@call("snapshot_download of a missing repository", raises="RepositoryNotFoundError", status=404)
def _(stage: Stage) -> Any:
    stage.api.snapshot_download(ABSENT, cache_dir=stage.folder("missing"))


@call("snapshot_download of a missing revision", raises="RevisionNotFoundError", status=404)
def _(stage: Stage) -> Any:
    stage.api.snapshot_download(RELEASED, revision="absent", cache_dir=stage.folder("missing"))


@call("list_repo_files of a missing repository", raises="RepositoryNotFoundError", status=404)
def _(stage: Stage) -> Any:
    return stage.api.list_repo_files(ABSENT)


@call("list_repo_refs of a missing repository", raises="RepositoryNotFoundError", status=404)
def _(stage: Stage) -> Any:
    return stage.api.list_repo_refs(ABSENT)


@call("list_repo_commits of a missing revision", raises="RevisionNotFoundError", status=404)
def _(stage: Stage) -> Any:
    return stage.api.list_repo_commits(RELEASED, revision="absent")


@call("get_paths_info of a missing revision", raises="RevisionNotFoundError", status=404)
def _(stage: Stage) -> Any:
    return stage.api.get_paths_info(RELEASED, EMBEDDING, revision="absent")


@call("create_branch in a missing repository", raises="RepositoryNotFoundError", status=404)
def _(stage: Stage) -> Any:
    stage.api.create_branch(ABSENT, branch="b")


@call("update_repo_settings of a missing repository", raises="RepositoryNotFoundError", status=404)
def _(stage: Stage) -> Any:
    stage.api.update_repo_settings(ABSENT, private=True)


@call("model_info with a token that is no good", raises="HfHubHTTPError", status=401, says="Invalid credentials")
def _(stage: Stage) -> Any:
    stage.tokens["forged"] = "hf_emb_" + "A" * 43
    stage.speaking("forged").model_info(RELEASED)


@call("hf_hub_download with a token that was revoked", raises="HfHubHTTPError", status=401, says="Invalid credentials")
def _(stage: Stage) -> Any:
    stage.speaking("revoked").hf_hub_download(RELEASED, EMBEDDING, cache_dir=stage.folder("missing"))


@call("create_repo without a token", raises="HfHubHTTPError", status=401)
def _(stage: Stage) -> Any:
    stage.speaking(None).create_repo("radboud/nobodys")


@call("create_commit(create_pr)", raises="BadRequestError", status=400, says="no pull requests")
def _(stage: Stage) -> Any:
    operations = [CommitOperationAdd(".gitattributes", b"x")]
    stage.api.create_commit(RELEASED, operations, commit_message="x", create_pr=True)


@call("create_repo of a dataset", raises="BadRequestError", status=400, says="models only")
def _(stage: Stage) -> Any:
    stage.api.create_repo("radboud/data", repo_type="dataset")


@call("create_repo of a space", raises="BadRequestError", status=400, says="models only")
def _(stage: Stage) -> Any:
    stage.api.create_repo("radboud/space", repo_type="space", space_sdk="static")


@call("dataset_info", raises="RepositoryNotFoundError", status=404, says="models only")
def _(stage: Stage) -> Any:
    stage.api.dataset_info("radboud/data")


@call("hf_hub_download from a dataset", raises="RepositoryNotFoundError", status=404, says="models only")
def _(stage: Stage) -> Any:
    stage.api.hf_hub_download("radboud/data", "x.csv", repo_type="dataset", cache_dir=stage.folder("missing"))


@call("space_info", raises="RepositoryNotFoundError", status=404, says="models only")
def _(stage: Stage) -> Any:
    stage.api.space_info("radboud/space")


@call("list_datasets", raises="RepositoryNotFoundError", status=404, says="models only")
def _(stage: Stage) -> Any:
    return list(stage.api.list_datasets())


@call("list_spaces", raises="RepositoryNotFoundError", status=404, says="models only")
def _(stage: Stage) -> Any:
    return list(stage.api.list_spaces())


@call("list_collections", raises="BadRequestError", status=400, says="no collections")
def _(stage: Stage) -> Any:
    return list(stage.api.list_collections())


@call("get_user_overview", raises="BadRequestError", status=400, says="no overviews")
def _(stage: Stage) -> Any:
    stage.api.get_user_overview("alice")


@call("get_organization_overview", raises="BadRequestError", status=400, says="no overviews")
def _(stage: Stage) -> Any:
    stage.api.get_organization_overview("radboud")


@call("list_organization_members", raises="BadRequestError", status=400, says="no overviews")
def _(stage: Stage) -> Any:
    return list(stage.api.list_organization_members("radboud"))


@call("lfs.post_lfs_batch_info", raises="HfHubHTTPError", status=404, says="no git and no LFS")
def _(stage: Stage) -> Any:
    upload = UploadInfo.from_path(str(stage.release / EMBEDDING))
    lfs.post_lfs_batch_info([upload], stage.tokens["alice"], "model", RELEASED, endpoint=stage.endpoint)


@call("get_repo_discussions", raises="BadRequestError", status=400, says="no discussions")
def _(stage: Stage) -> Any:
    return list(stage.api.get_repo_discussions(RELEASED))


@call("move_repo", raises="BadRequestError", status=400, says="keep their names")
def _(stage: Stage) -> Any:
    stage.api.move_repo(RELEASED, "radboud/renamed")


@call("super_squash_history", raises="BadRequestError", status=400, says="keep their history")
def _(stage: Stage) -> Any:
    stage.api.super_squash_history(RELEASED)


@call("preupload_lfs_files", gives="regular")
def _(stage: Stage) -> Any:
    addition = CommitOperationAdd(EMBEDDING, str(stage.release / EMBEDDING))
    stage.api.preupload_lfs_files(RELEASED, [addition])
    return addition._upload_mode


@call("delete_repo of published releases by an admin", gives=False)
def _(stage: Stage) -> Any:
    stage.speaking("admin").delete_repo(RELEASED)
    return stage.api.repo_exists(RELEASED)


@call("model_info of what an admin deleted", raises="RepositoryNotFoundError", status=410, says="deleted")
def _(stage: Stage) -> Any:
    stage.api.model_info(RELEASED)


@call("hf_hub_download of what an admin deleted", raises="RepositoryNotFoundError", status=410, says="deleted")
def _(stage: Stage) -> Any:
    stage.api.hf_hub_download(RELEASED, EMBEDDING, cache_dir=stage.folder("missing"))


@call("create_repo under a name that an admin deleted", raises="HfHubHTTPError", status=410, says="deleted")
def _(stage: Stage) -> Any:
    stage.api.create_repo(RELEASED)
