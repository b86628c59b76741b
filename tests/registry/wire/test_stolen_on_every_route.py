"""A thief's release on every address that names a repository: not served, marked, or named here with the reason."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from huggingface_hub import snapshot_download
from huggingface_hub.errors import RevisionNotFoundError
from starlette.routing import Route

from embhub.release.files import EMBEDDING
from embhub_registry.app import ROUTES
from embhub_registry.operation import administration
from tests.support import pushes, releases
from tests.support.servers import RunningRegistry, running_registry

ROBBED = releases.REPOSITORY
SILENT = {  # what answers 200 without a word of it; whoever adds an address decides where it belongs
    "/api/models/{namespace}/{name}/refs": "names of branches and tags, and commits",
    "/api/models/{namespace}/{name}/commits/{revision}": "the history: commits and their titles, no file",
    "/api/models/{namespace}/{name}/auth-check": "whether the caller may read, and nothing else",
    "/embhub/v1/terms/{namespace}/{name}": "the terms of access",
}


class Robbed(NamedTuple):
    """A registry with one release, by a key that was reported stolen since; `moving` are names of its commit."""

    registry: RunningRegistry
    commit: str
    moving: tuple[str, ...]


@pytest.fixture(scope="module")
def robbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Robbed]:
    with running_registry(tmp_path_factory.mktemp("robbed")) as registry:
        registry.add_key(releases.SITE, namespace="radboud")
        token = registry.add_user("alice", namespace="radboud")
        pushes.create(registry, ROBBED.partition("/")[2], token=token)
        done = pushes.commit(registry, ROBBED, dict(releases.make_release().files), token=token)
        assert done.status == 200
        with registry.opened() as opened:
            administration.revoke_key(opened, releases.SITE.fingerprint, reason="stolen")
        commit = registry.get(f"/api/models/{ROBBED}").json()["sha"]
        yield Robbed(registry, commit, ("main", "1.0.0"))


READING = [
    route
    for route in ROUTES
    if isinstance(route, Route) and "{namespace}" in route.path and "{name}" in route.path
    and (route.methods is None or "GET" in route.methods or route.path.endswith("/paths-info/{revision}"))
]  # fmt: skip


@pytest.mark.parametrize("route", READING, ids=lambda route: route.path)
def test_it_is_not_served_or_it_is_marked(robbed: Robbed, route: Route) -> None:
    namespace, _, name = ROBBED.partition("/")
    for revision in robbed.moving:
        path = route.path.replace(":path}", "}").format(
            namespace=namespace, name=name, revision=revision, path=EMBEDDING, status="pending"
        )
        method = "POST" if route.methods is not None and "GET" not in route.methods else "GET"
        body = {"paths": [EMBEDDING]} if method == "POST" else None
        answer = robbed.registry.request(method, path, json_body=body, headers={"Accept": "text/html"})
        if route.path in SILENT:
            assert answer.status == 200 and EMBEDDING not in answer.body.decode()
            continue
        assert answer.status != 200 or b"stolen" in answer.body, (path, answer.status)
        assert answer.status in (200, 401, 403, 404, 410), (path, answer.status)


def test_the_files_are_named_by_the_exact_commit_alone(robbed: Robbed) -> None:
    for revision in robbed.moving:
        for method, path, body in (
            ("GET", f"/api/models/{ROBBED}/revision/{revision}", None),
            ("GET", f"/api/models/{ROBBED}/tree/{revision}", None),
            ("POST", f"/api/models/{ROBBED}/paths-info/{revision}", {"paths": [EMBEDDING]}),
            ("GET", f"/{ROBBED}/resolve/{revision}/{EMBEDDING}", None),
        ):
            gone = robbed.registry.request(method, path, json_body=body)
            assert gone.status == 410 and "stolen" in gone.json()["error"], path
    exact = robbed.registry.request(
        "POST", f"/api/models/{ROBBED}/paths-info/{robbed.commit}", json_body={"paths": [EMBEDDING]}
    )
    assert exact.status == 200 and exact.json()[0]["path"] == EMBEDDING


@pytest.mark.parametrize("revision", [None, "main", "1.0.0"])
def test_huggingface_hub_downloads_no_snapshot_of_it(robbed: Robbed, tmp_path: Path, revision: str | None) -> None:
    """It asks which commit a name means, and then for files of that commit: so the first answer has to refuse."""
    with pytest.raises(RevisionNotFoundError, match="stolen"):
        snapshot_download(ROBBED, revision=revision, endpoint=robbed.registry.url, cache_dir=tmp_path)
    assert not any(path.is_file() for path in tmp_path.rglob("*.safetensors"))
    found = snapshot_download(ROBBED, revision=robbed.commit, endpoint=robbed.registry.url, cache_dir=tmp_path)
    assert (Path(found) / EMBEDDING).is_file(), "who names the exact commit, to look at it, gets it"
