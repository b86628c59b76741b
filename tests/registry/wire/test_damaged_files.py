"""A stored file that holds other bytes than were pushed: none of them is served, by whatever way they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from embhub.release.files import EMBEDDING
from embhub_registry import app
from embhub_registry.database.releases import repositories
from embhub_registry.operation.opening import open_folder
from embhub_registry.storage.folder import Registry
from embhub_registry.storage.stores import folder_blobs
from embhub_registry.storage.stores.blobs import sha256
from tests.support import pushes, releases, stored_objects
from tests.support.servers import RunningRegistry, init_registry
from tests.support.threads import serving

NAME = "radboud/prostate-cspca"
FILES = releases.make_release().files
PUSHED = FILES[EMBEDDING]
OTHER = bytes([PUSHED[0] ^ 1]) + PUSHED[1:]  # as many bytes


@pytest.fixture
def running(tmp_path: Path) -> RunningRegistry:
    running = init_registry(tmp_path)
    running.add_key(releases.SITE, namespace="radboud")
    alice = running.add_user("alice", namespace="radboud")
    with server(running):
        assert pushes.create(running, "prostate-cspca", token=alice).status == 200
        assert pushes.commit(running, NAME, FILES, token=alice).status == 200
    return running


@contextmanager
def server(running: RunningRegistry) -> Iterator[Registry]:
    """A server that has nothing in memory yet."""
    registry = open_folder(running.folder)
    with serving(app.build(registry)) as served:
        running.url = f"http://127.0.0.1:{served.config.port}"
        yield registry
    registry.close()


def address(registry: Registry) -> str:
    return f"/{NAME}/resolve/{repositories.find_ref(registry.database.connection(), 1, 'main')}/{EMBEDDING}"


def is_refused(running: RunningRegistry, path: str, capsys: pytest.CaptureFixture[str], **headers: str) -> bool:
    capsys.readouterr()
    answer = running.get(path, headers=headers)
    said = capsys.readouterr()
    assert answer.status == 503 and answer.json()["rule"] == "storage" and answer.header("Retry-After") == "30"
    assert answer.header("Cache-Control") == "no-store" and OTHER[:20] not in answer.body
    return f'"digest":"{sha256(PUSHED)}"' in (said.out + said.err).replace(" ", "")


@pytest.mark.parametrize("long", [folder_blobs.LONG, 0], ids=["read at once", "read by a thread"])
def test_a_new_server_gives_nothing_of_it(
    running: RunningRegistry, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, long: int
) -> None:
    monkeypatch.setattr(folder_blobs, "LONG", long)
    with server(running) as registry:
        stored_objects.write_over(registry.blobs, sha256(PUSHED), OTHER)
        path = address(registry)
        for _ in range(2):  # the second time, too: what was refused is not kept
            assert is_refused(running, path, capsys), "the log names it"
        assert is_refused(running, path, capsys, Range="bytes=0-9")
        assert is_refused(running, path, capsys, Range="bytes=-10")
        assert is_refused(running, path.replace(path.split("/")[4], "main"), capsys)
        registry.blobs.put(PUSHED)
        assert running.get(path).body == PUSHED, "whoever brings the bytes heals it"


def test_it_is_noticed_after_the_file_was_served(running: RunningRegistry, capsys: pytest.CaptureFixture[str]) -> None:
    with server(running) as registry:
        path = address(registry)
        assert [running.get(path).body for _ in range(2)] == [PUSHED] * 2
        stored_objects.write_over(registry.blobs, sha256(PUSHED), OTHER)
        assert running.get(path).body == PUSHED, "from memory, where the right bytes are"
        registry.blobs._cache.clear()
        registry.blobs._held = 0
        assert is_refused(running, path, capsys), "the answer's head is in memory, and its body is read again"
        assert is_refused(running, path, capsys, Range="bytes=0-9")
