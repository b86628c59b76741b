"""An unmodified huggingface_hub, and diffusers on top of it, against the real server process."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, ModelCard
from huggingface_hub.errors import (
    BadRequestError,
    EntryNotFoundError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from embhub.release import AUDIT, CARD, EMBEDDING, PUBLISH_BUNDLE, Release
from tests import releases
from tests.registry.conftest import House
from tests.registry.conftest import house as house

NAME = "radboud/prostate-cspca"


@pytest.fixture(scope="module")
def api(house: House) -> HfApi:
    return HfApi(endpoint=house.registry.url, token=house.alice)


@pytest.fixture(scope="module")
def release() -> Release:
    return releases.make_release(repository=NAME)


@pytest.fixture(scope="module")
def published(api: HfApi, release: Release, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The release, sent by `upload_folder`; returns its commit."""
    folder = tmp_path_factory.mktemp("out") / "release"
    release.to_folder(folder)
    api.create_repo(NAME)
    done = api.upload_folder(repo_id=NAME, folder_path=folder, commit_message="First release")
    assert done.repo_url.repo_id == NAME
    return done.oid


def test_whoami(api: HfApi) -> None:
    said = api.whoami()
    assert said["name"] == "alice"
    assert [org["name"] for org in said["orgs"]] == ["radboud"]


def test_create_twice(api: HfApi, house: House) -> None:
    made = api.create_repo("radboud/twice")
    assert made == f"{house.registry.url}/radboud/twice"
    assert made.repo_id == "radboud/twice"
    with pytest.raises(HfHubHTTPError) as caught:
        api.create_repo("radboud/twice")
    assert caught.value.response.status_code == 409
    assert api.create_repo("radboud/twice", exist_ok=True).repo_id == "radboud/twice"


def test_a_name_without_a_namespace_is_the_users(api: HfApi) -> None:
    assert api.create_repo("plain").repo_id == "radboud/plain"


def test_model_info(api: HfApi, published: str, release: Release) -> None:
    info = api.model_info(NAME, files_metadata=True)
    assert info.sha == published
    assert {s.rfilename: s.size for s in info.siblings or []} == {k: len(v) for k, v in release.files.items()}
    assert info.author == "radboud"
    assert info.private is False
    assert info.pipeline_tag == "text-to-image"
    assert info.library_name == "diffusers"
    assert "modality:MR" in (info.tags or [])
    assert info.last_modified is not None
    assert info.card_data is not None and info.card_data.license == "cc-by-4.0"
    assert api.model_info(NAME, revision=published).sha == published
    expanded = api.model_info(NAME, expand=["downloads", "tags"])
    assert expanded.downloads is not None and expanded.siblings is None


def test_files_come_back_byte_for_byte(api: HfApi, published: str, release: Release, tmp_path: Path) -> None:
    for name, data in release.files.items():
        path = Path(api.hf_hub_download(NAME, name, cache_dir=tmp_path))
        assert path.read_bytes() == data
        assert published in str(path)
    folder = Path(api.snapshot_download(NAME, cache_dir=tmp_path / "b"))
    assert {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()} == release.files
    local = Path(api.snapshot_download(NAME, revision=published, local_dir=tmp_path / "c"))
    assert (local / PUBLISH_BUNDLE).read_bytes() == release.files[PUBLISH_BUNDLE]
    again = Path(api.hf_hub_download(NAME, EMBEDDING, local_dir=tmp_path / "c"))
    assert again.read_bytes() == release.files[EMBEDDING]


def test_anonymous_read(house: House, published: str, release: Release, tmp_path: Path) -> None:
    nobody = HfApi(endpoint=house.registry.url, token=False)
    path = nobody.hf_hub_download(NAME, EMBEDDING, revision=published, cache_dir=tmp_path)
    assert Path(path).read_bytes() == release.files[EMBEDDING]


def test_existence(api: HfApi, published: str) -> None:
    assert api.repo_exists(NAME)
    assert not api.repo_exists("radboud/absent")
    assert api.file_exists(NAME, EMBEDDING)
    assert not api.file_exists(NAME, "absent.txt")
    assert api.revision_exists(NAME, published)
    assert not api.revision_exists(NAME, "absent")
    assert not api.revision_exists(NAME, "0" * 40)


def test_trees_and_paths(api: HfApi, published: str, release: Release) -> None:
    assert set(api.list_repo_files(NAME)) == set(release.files)
    top = {item.path: type(item).__name__ for item in api.list_repo_tree(NAME)}
    assert top == {
        "attestations": "RepoFolder", EMBEDDING: "RepoFile", CARD: "RepoFile", AUDIT: "RepoFile",
    }  # fmt: skip
    inside = [item.path for item in api.list_repo_tree(NAME, "attestations", expand=True)]
    assert inside == ["attestations/audit.sigstore.json", PUBLISH_BUNDLE]
    found = api.get_paths_info(NAME, [EMBEDDING, "attestations", "absent"], expand=True)
    assert [item.path for item in found] == [EMBEDDING, "attestations"]
    assert found[0].last_commit is not None and found[0].last_commit.oid == published
    with pytest.raises(EntryNotFoundError):
        list(api.list_repo_tree(NAME, "absent"))


def test_checksums(api: HfApi, published: str, tmp_path: Path) -> None:
    api.snapshot_download(NAME, local_dir=tmp_path)
    checked = api.verify_repo_checksums(NAME, local_dir=tmp_path, revision=published)
    assert checked.checked_count == 5 and not checked.mismatches


def test_history_and_refs(api: HfApi, published: str) -> None:
    commits = api.list_repo_commits(NAME, formatted=True)
    assert commits[0].commit_id == published
    assert commits[0].title == "First release"
    assert commits[0].authors == ["alice"]
    refs = api.list_repo_refs(NAME)
    assert {b.name: b.target_commit for b in refs.branches} == {"main": published}
    api.create_tag(NAME, tag="v1.0.0")
    with pytest.raises(HfHubHTTPError):
        api.create_tag(NAME, tag="v1.0.0")
    api.create_tag(NAME, tag="v1.0.0", exist_ok=True)
    api.create_branch(NAME, branch="trial/one", revision=published)
    assert api.model_info(NAME, revision="trial/one").sha == published
    assert api.model_info(NAME, revision="v1.0.0").sha == published
    refs = api.list_repo_refs(NAME)
    assert {t.name for t in refs.tags} == {"v1.0.0"} and {b.name for b in refs.branches} == {"main", "trial/one"}
    api.delete_branch(NAME, branch="trial/one")
    api.delete_tag(NAME, tag="v1.0.0")
    with pytest.raises(RevisionNotFoundError):
        api.model_info(NAME, revision="v1.0.0")


def test_lists(api: HfApi, house: House, published: str) -> None:
    assert [m.id for m in api.list_models(search="CSPCA")] == [NAME]
    assert [m.id for m in api.list_models(search="significant cancer")] == [NAME]
    assert [m.id for m in api.list_models(filter="modality:MR")] == [NAME]
    assert [m.id for m in api.list_models(filter=["modality:MR", "modality:CT"])] == []
    assert [m.id for m in api.list_models(author="lumc")] == []
    assert [m.id for m in api.list_models(author="radboud", pipeline_tag="text-to-image", full=True)] == [NAME]
    for number in range(5):
        api.create_repo(f"radboud/page-{number}")
    everything = [m.id for m in api.list_models(sort="created_at")]
    pages = [m.id for page in _pages(house, "/api/models?limit=2&sort=createdAt") for m in page]
    assert pages == everything and len(pages) >= 6
    assert [m.id for m in api.list_models(limit=3, sort="last_modified")] == [
        f"radboud/page-{number}" for number in (4, 3, 2)
    ]


class _Row:
    def __init__(self, row: dict[str, str]) -> None:
        self.id = row["id"]


def _pages(house: House, path: str) -> list[list[_Row]]:
    pages, url = [], house.registry.url + path
    while url:
        answer = httpx.get(url, trust_env=False)
        pages.append([_Row(row) for row in answer.json()])
        url = answer.links.get("next", {}).get("url", "")
    return pages


def test_small_commits_without_weights(api: HfApi) -> None:
    api.create_repo("radboud/small")
    first = api.upload_file(repo_id="radboud/small", path_in_repo="README.md", path_or_fileobj=b"# Soon\n")
    again = api.upload_file(repo_id="radboud/small", path_in_repo="README.md", path_or_fileobj=b"# Soon\n")
    assert again.oid == first.oid, "an unchanged file makes no commit"
    with pytest.raises(HfHubHTTPError) as caught:
        api.create_commit(
            "radboud/small",
            [CommitOperationAdd("README.md", b"# Late\n")],
            commit_message="late",
            parent_commit="0" * 40,
        )
    assert caught.value.response.status_code == 412
    second = api.create_commit(
        "radboud/small", [CommitOperationAdd("README.md", b"# Later\n")], commit_message="x", parent_commit=first.oid
    )
    assert second.oid != first.oid
    api.delete_file("README.md", repo_id="radboud/small")
    assert api.list_repo_files("radboud/small") == []
    assert api.list_repo_files("radboud/small", revision=second.oid) == ["README.md"]
    with pytest.raises(EntryNotFoundError):
        api.create_commit("radboud/small", [CommitOperationDelete("README.md")], commit_message="twice")


def test_card_pushed_by_the_stock_class(api: HfApi, house: House) -> None:
    api.create_repo("radboud/carded")
    with pytest.raises(ValueError, match="Invalid metadata"):
        api.upload_file(repo_id="radboud/carded", path_in_repo="README.md", path_or_fileobj=b"---\na: [\n---\nx")
    text = b"---\nlicense: mit\ntags:\n- stock\n---\n# Card\n"
    api.upload_file(repo_id="radboud/carded", path_in_repo="README.md", path_or_fileobj=text)
    assert "license:mit" in (api.model_info("radboud/carded").tags or [])
    assert ModelCard(api.hf_hub_download("radboud/carded", "README.md") and text.decode()).data.license == "mit"


def test_errors_are_the_clients_own(api: HfApi, house: House, published: str, tmp_path: Path) -> None:
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("radboud/absent")
    with pytest.raises(RevisionNotFoundError):
        api.model_info(NAME, revision="absent")
    with pytest.raises(EntryNotFoundError):
        api.hf_hub_download(NAME, "absent.bin", cache_dir=tmp_path)
    with pytest.raises(BadRequestError):
        api.create_repo("radboud/data", repo_type="dataset")
    with pytest.raises(RepositoryNotFoundError):
        api.dataset_info("radboud/data")
    wrong = HfApi(endpoint=house.registry.url, token="emb_" + "A" * 43)
    with pytest.raises(HfHubHTTPError) as caught:
        wrong.model_info(NAME)
    assert caught.value.response.status_code == 401
    assert not isinstance(caught.value, RepositoryNotFoundError)
    assert "does not know the token" in str(caught.value)


def test_private_repositories_look_absent_to_others(api: HfApi, house: House) -> None:
    api.create_repo("radboud/secret", private=True)
    assert api.model_info("radboud/secret").private
    api.auth_check("radboud/secret")
    lumc = HfApi(endpoint=house.registry.url, token=house.lea)
    with pytest.raises(RepositoryNotFoundError):
        lumc.model_info("radboud/secret")
    with pytest.raises(RepositoryNotFoundError):
        lumc.auth_check("radboud/secret")
    assert "radboud/secret" not in [m.id for m in lumc.list_models(author="radboud")]
    assert "radboud/secret" in [m.id for m in api.list_models(author="radboud")]
    api.update_repo_settings("radboud/secret", visibility="public")
    assert not lumc.model_info("radboud/secret").private
    with pytest.raises(HfHubHTTPError) as caught:
        lumc.update_repo_settings("radboud/secret", visibility="private")
    assert caught.value.response.status_code == 403


def test_delete(api: HfApi, house: House, published: str) -> None:
    api.create_repo("radboud/gone")
    api.delete_repo("radboud/gone")
    assert not api.repo_exists("radboud/gone")
    api.delete_repo("radboud/gone", missing_ok=True)
    with pytest.raises(HfHubHTTPError) as caught:
        api.delete_repo(NAME)
    assert caught.value.response.status_code == 403 and "published releases" in str(caught.value)


def test_pull_requests_are_refused_in_words(api: HfApi) -> None:
    api.create_repo("radboud/pr")
    with pytest.raises(BadRequestError, match="no pull requests"):
        api.create_commit("radboud/pr", [CommitOperationAdd("README.md", b"x")], commit_message="x", create_pr=True)


def test_ranges_and_conditions(house: House, published: str, release: Release) -> None:
    data = release.files[EMBEDDING]
    path = f"/{NAME}/resolve/{published}/{EMBEDDING}"
    whole = house.registry.get(path)
    assert whole.body == data
    etag = whole.header("etag")
    assert etag == f'"{hashlib.sha256(data).hexdigest()}"'
    assert whole.header("x-repo-commit") == published
    assert "immutable" in str(whole.header("cache-control"))
    for asked, expected in (("bytes=0-9", data[:10]), ("bytes=100-", data[100:]), ("bytes=-7", data[-7:])):
        part = house.registry.get(path, headers={"Range": asked})
        assert (part.status, part.body) == (206, expected)
        assert str(part.header("content-range")).endswith(f"/{len(data)}")
    assert house.registry.get(path, headers={"Range": f"bytes={len(data)}-"}).status == 416
    for ignored in ("bytes=9-2", "lines=1-2", "bytes=0-1,4-5", "bytes=x"):
        assert house.registry.get(path, headers={"Range": ignored}).body == data
    assert house.registry.get(path, headers={"Range": "bytes=0-9", "If-Range": '"other"'}).body == data
    assert house.registry.get(path, headers={"If-None-Match": str(etag)}).status == 304
    head = house.registry.request("HEAD", path)
    assert head.header("content-length") == str(len(data)) and head.body == b""
    moving = house.registry.request("HEAD", f"/{NAME}/resolve/main/{EMBEDDING}")
    assert (moving.status, moving.header("location")) == (307, path)
    assert house.registry.get(f"/{NAME}/resolve/main/{EMBEDDING}").header("cache-control") == "no-cache"


def test_the_hf_command(house: House, published: str, tmp_path: Path) -> None:
    environment = {**os.environ, "HF_ENDPOINT": house.registry.url, "HF_TOKEN": house.alice, "HF_HOME": str(tmp_path)}
    command = [
        str(Path(sys.executable).parent / "hf"),
        "download",
        NAME,
        EMBEDDING,
        "--local-dir",
        str(tmp_path / "got"),
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "got" / EMBEDDING).is_file()


DIFFUSERS = """
import sys
import torch
from diffusers.loaders import TextualInversionLoaderMixin
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer
import json, pathlib

folder = pathlib.Path(sys.argv[2])
words = {"<|startoftext|>": 0, "<|endoftext|>": 1, "a</w>": 2, "a": 3}
(folder / "vocab.json").write_text(json.dumps(words))
(folder / "merges.txt").write_text("#version: 0.2\\n")
tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
size = dict(hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, vocab_size=4)
encoder = CLIPTextModel(CLIPTextConfig(**size, bos_token_id=0, eos_token_id=1))

class Pipe(TextualInversionLoaderMixin):
    def __init__(self):
        self.tokenizer, self.text_encoder, self.components, self.hf_device_map = tokenizer, encoder, {}, None

pipe = Pipe()
for token, revision in (("<one>", None), ("<two>", sys.argv[3])):
    pipe.load_textual_inversion(sys.argv[1], token=token, revision=revision)
    print("LOADED", len(pipe.maybe_convert_prompt(token, tokenizer).split()))
assert encoder.get_input_embeddings().weight.shape == (20, 32), encoder.get_input_embeddings().weight.shape
"""


def test_diffusers_loads_by_repository_id_and_by_commit(house: House, published: str, tmp_path: Path) -> None:
    environment = {
        **os.environ, "HF_ENDPOINT": house.registry.url, "HF_HOME": str(tmp_path / "hf"), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    words = [sys.executable, "-c", DIFFUSERS, NAME, str(tmp_path), published]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout.split() == ["LOADED", "8", "LOADED", "8"], done.stderr
