"""`expand=True`: every file and folder comes with the commit that last changed it, whoever made the newest one."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.hf_api import RepoFile, RepoFolder

from embhub.release.files import CARD, EMBEDDING
from tests.registry.conftest import House
from tests.support import releases

NAME = "radboud/lasting"


def last_commits(api: HfApi, revision: str | None = None) -> dict[str, str]:
    """Path -> the last commit, by `list_repo_tree`; `get_paths_info` says the same."""
    shown = list(api.list_repo_tree(NAME, recursive=True, expand=True, revision=revision))
    told = api.get_paths_info(NAME, [item.path for item in shown], expand=True, revision=revision)
    assert _by_path(told) == _by_path(shown)
    return _by_path(shown)


def _by_path(items: list[RepoFile | RepoFolder]) -> dict[str, str]:
    return {item.path: item.last_commit.oid for item in items if item.last_commit}


def test_each_file_has_its_own_last_commit_also_after_an_auditors(house: House, tmp_path: Path) -> None:
    api = HfApi(endpoint=house.registry.url, token=house.alice)
    api.create_repo(NAME)
    release = releases.make_release(repository=NAME)
    release.to_folder(tmp_path)
    card = CommitOperationAdd(CARD, b"# A draft\n")
    drafted = api.create_commit(NAME, [card], commit_message="A draft").oid
    published = api.upload_folder(repo_id=NAME, folder_path=tmp_path, commit_message="Publish").oid
    config = CommitOperationAdd(".gitattributes", b"*.json text\n")
    configured = api.create_commit(NAME, [config], commit_message="Attributes").oid
    countersigned = releases.resigned(release, audit_key=releases.AUDITOR).files[releases.AUDITOR_BUNDLE]
    auditor = HfApi(endpoint=house.registry.url, token=house.nora)
    operation = CommitOperationAdd(releases.AUDITOR_BUNDLE, countersigned)
    audited = auditor.create_commit(NAME, [operation], commit_message="Countersign").oid

    files = dict.fromkeys([*release.files, "attestations"], published) | {".gitattributes": configured}
    assert last_commits(api) == files | {releases.AUDITOR_BUNDLE: audited, "attestations": audited}
    assert last_commits(api, revision=configured) == files
    assert last_commits(api, revision=drafted) == {CARD: drafted}
    title = next(item for item in api.get_paths_info(NAME, [EMBEDDING], expand=True)).last_commit
    assert title is not None and title.title == "Publish"
