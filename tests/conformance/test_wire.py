"""What stock clients rely on beneath their calls: ranges, conditions, redirects, encoded addresses, who may cache."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from huggingface_hub import HfApi

from embhub.release.files import EMBEDDING, PUBLISH_BUNDLE, Release
from tests.registry.conftest import House
from tests.registry.conftest import house as house
from tests.support import releases

NAME = "radboud/wire.v1-t2w_x"


@pytest.fixture(scope="module")
def release() -> Release:
    return releases.make_release(repository=NAME)


@pytest.fixture(scope="module")
def published(house: House, release: Release, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The release's commit; the branch `a/b` and the tag `v1.0/rc-1` point to it too."""
    folder = tmp_path_factory.mktemp("wire") / "release"
    release.to_folder(folder)
    api = HfApi(endpoint=house.registry.url, token=house.alice)
    api.create_repo(NAME)
    commit = api.upload_folder(repo_id=NAME, folder_path=folder).oid
    api.create_branch(NAME, branch="a/b")
    api.create_tag(NAME, tag="v1.0/rc-1")
    return commit


@pytest.fixture(scope="module")
def path(published: str) -> str:
    return f"/{NAME}/resolve/{published}/{EMBEDDING}"


def test_a_whole_file(house: House, path: str, published: str, release: Release) -> None:
    data = release.files[EMBEDDING]
    whole = house.registry.get(path)
    assert (whole.status, whole.body) == (200, data)
    assert whole.header("etag") == f'"{hashlib.sha256(data).hexdigest()}"'
    assert whole.header("x-repo-commit") == published
    assert whole.header("accept-ranges") == "bytes"
    assert whole.header("cache-control") == "public, max-age=600, must-revalidate"
    head = house.registry.request("HEAD", path)
    assert (head.status, head.header("content-length"), head.body) == (200, str(len(data)), b"")
    assert head.header("etag") == whole.header("etag")


@pytest.mark.parametrize(
    ("asked", "start", "end"), [("0-9", 0, 10), ("100-", 100, None), ("-7", -7, None), ("5-99999", 5, None)]
)
def test_ranges(house: House, path: str, release: Release, asked: str, start: int, end: int | None) -> None:
    data = release.files[EMBEDDING]
    part = house.registry.get(path, headers={"Range": f"bytes={asked}"})
    assert (part.status, part.body) == (206, data[start:end])
    assert part.header("content-length") == str(len(part.body))
    first = start % len(data)
    assert part.header("content-range") == f"bytes {first}-{first + len(part.body) - 1}/{len(data)}"


@pytest.mark.parametrize("asked", ["bytes=9-2", "lines=1-2", "bytes=0-1,4-5", "bytes=x", "bytes=", "bytes=-"])
def test_a_range_that_is_none_is_ignored(house: House, path: str, release: Release, asked: str) -> None:
    answer = house.registry.get(path, headers={"Range": asked})
    assert (answer.status, answer.body) == (200, release.files[EMBEDDING])


def test_a_range_past_the_end(house: House, path: str, release: Release) -> None:
    size = len(release.files[EMBEDDING])
    for asked in (f"bytes={size}-", "bytes=-0"):
        answer = house.registry.get(path, headers={"Range": asked})
        assert (answer.status, answer.header("content-range")) == (416, f"bytes */{size}")


def test_conditions(house: House, path: str, release: Release) -> None:
    """RFC 9110 section 13: If-None-Match compares weakly, If-Match and If-Range strongly."""
    etag = str(house.registry.get(path).header("etag"))
    for named in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        for method in ("GET", "HEAD"):
            answer = house.registry.request(method, path, headers={"If-None-Match": named})
            assert (answer.status, answer.body, answer.header("etag")) == (304, b"", etag)
    assert house.registry.get(path, headers={"If-None-Match": '"other"'}).status == 200
    for named, status in ((etag, 200), ("*", 200), ('"other"', 412), (f"W/{etag}", 412)):
        assert house.registry.get(path, headers={"If-Match": named}).status == status
    data = release.files[EMBEDDING]
    for named, body in ((etag, data[:10]), ('"other"', data), (f"W/{etag}", data)):
        assert house.registry.get(path, headers={"Range": "bytes=0-9", "If-Range": named}).body == body


@pytest.mark.parametrize(
    "revision", ["main", "a%2Fb", "v1.0%2Frc-1", "refs%2Fheads%2Fa%2Fb", "refs%2Ftags%2Fv1.0%2Frc-1"]
)
def test_head_of_what_moves_leads_to_the_commit(house: House, path: str, published: str, revision: str) -> None:
    head = house.registry.request("HEAD", f"/{NAME}/resolve/{revision}/{EMBEDDING}")
    assert (head.status, head.header("location"), head.header("x-repo-commit")) == (307, path, published)
    got = house.registry.get(f"/{NAME}/resolve/{revision}/{EMBEDDING}")
    assert (got.status, got.header("cache-control")) == (200, "no-cache")


def test_an_encoded_slash_is_part_of_a_name_and_a_plain_one_is_not(house: House, published: str) -> None:
    tree = f"/api/models/{NAME}/tree/a%2Fb/attestations"
    assert PUBLISH_BUNDLE in [item["path"] for item in house.registry.get(tree).json()]
    assert house.registry.get(f"/api/models/{NAME}/revision/a%2Fb").json()["sha"] == published
    assert house.registry.get(f"/api/models/{NAME}/revision/a/b").status == 404
    inside = f"/{NAME}/resolve/{published}/{PUBLISH_BUNDLE.replace('/', '%2F')}"
    assert house.registry.get(inside).status == 200, "clients encode a folder's path as one segment"
    for odd in ("..%2F..%2Fregistry.db", "%2e%2e/%2e%2e/registry.db", "attestations%2F", "%2Fetc%2Fpasswd"):
        assert house.registry.get(f"/{NAME}/resolve/{published}/{odd}").status == 404


def test_many_at_once_get_the_same_bytes(house: House, path: str, release: Release) -> None:
    data = release.files[EMBEDDING]
    with ThreadPoolExecutor(16) as crowd:
        whole = list(crowd.map(lambda _: house.registry.get(path).body, range(48)))
        parts = list(
            crowd.map(lambda n: house.registry.get(path, headers={"Range": f"bytes={n}-{n + 9}"}).body, range(48))
        )
    assert set(whole) == {data}
    assert parts == [data[n : n + 10] for n in range(48)]
