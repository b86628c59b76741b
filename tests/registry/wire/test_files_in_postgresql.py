"""A registry on PostgreSQL, served: its files are pushed, pulled, backed up, restored, and slow ones wait alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from huggingface_hub import hf_hub_download
from starlette.applications import Starlette

from embhub.errors import ConfigError
from embhub.release.files import EMBEDDING
from embhub_registry import app
from embhub_registry.database.people import accounts
from embhub_registry.operation import administration
from embhub_registry.operation.backups import backup, checking
from embhub_registry.operation.backups import moving as operation
from embhub_registry.operation.opening import open_folder
from embhub_registry.storage.folder import Registry, create
from embhub_registry.storage.stores.database_blobs import DatabaseBlobs
from embhub_registry.wire.store_reads import StoreReads
from tests.support import pushes, releases, stored_objects
from tests.support.backups import restore
from tests.support.postgres import Server
from tests.support.quick import quick
from tests.support.servers import RunningRegistry
from tests.support.threads import serving

NAME = "radboud/prostate-cspca"
FILES = releases.make_release().files


@dataclass
class Served:
    """A registry on PostgreSQL with one release, served by a thread of this process."""

    running: RunningRegistry
    registry: Registry
    application: Starlette
    schema: str

    def forget(self) -> None:
        """No file is in memory any more."""
        self.registry.blobs._cache.clear()
        self.registry.blobs._held = 0

    def address(self, path: str = EMBEDDING) -> str:
        commit = self.running.get(f"/api/models/{NAME}").json()["sha"]
        return f"/{NAME}/resolve/{commit}/{path}"


@pytest.fixture
def served(tmp_path: Path, postgresql: Server) -> Iterator[Served]:
    place, address = tmp_path / "registry", postgresql.new_schema()
    made = create(place, name="T", url=releases.REGISTRY, audit="optional", database=address)
    admin = str(administration.add_user(made, "admin", namespace="registry", role="admin")["token"])
    root = made.setting("root_fingerprint")
    made.close()
    running = RunningRegistry(place, "", admin=admin, root_fingerprint=root)
    running.add_key(releases.SITE, namespace="radboud")
    alice = running.add_user("alice", namespace="radboud")
    registry = open_folder(place)
    application = app.build(registry)
    with serving(application) as server:
        running.url = f"http://127.0.0.1:{server.config.port}"
        assert pushes.create(running, "prostate-cspca", token=alice).status == 200
        assert pushes.commit(running, NAME, FILES, token=alice).status == 200
        yield Served(running, registry, application, address.rpartition("%3D")[2])
    registry.close()


def test_it_is_pushed_pulled_checked_backed_up_and_restored(served: Served, tmp_path: Path, postgresql: Server) -> None:
    """A backup is restored into a folder, and moved to a server from there."""
    assert isinstance(served.registry.blobs, DatabaseBlobs) and not (served.running.folder / "blobs").exists()
    got = hf_hub_download(NAME, EMBEDDING, endpoint=served.running.url, cache_dir=tmp_path / "hub", token=False)
    assert Path(got).read_bytes() == FILES[EMBEDDING]
    assert checking.check(served.registry).clean
    with served.registry.database.writing() as db:  # as of one that had its files in an object store, and servers
        accounts.write_setting(db, "blobs", "s3://embhub/hub")
        accounts.write_setting(db, "shared", "yes")
    made = backup.back_up(served.registry, tmp_path / "x.tar")
    assert made["blobs"] == len(set(FILES.values()))
    assert restore(tmp_path / "x.tar", tmp_path / "again")["told"] == []
    for place in (postgresql.new_schema(), "sqlite"):
        again = open_folder(tmp_path / "again")
        assert not again.is_shared and checking.check(again).clean
        assert set(again.blobs.stored()) == set(served.registry.blobs.stored())
        assert operation.move(again, place)["files"] == made["blobs"]
        again.close()


@pytest.mark.parametrize("damage", quick(["other"], thorough=["lost"]))
def test_damage_is_named_and_not_served(served: Served, damage: str) -> None:
    db = served.registry.database.connection()
    digest = db.execute("SELECT digest FROM entry WHERE path = ?", (EMBEDDING,)).fetchone()[0]
    served.forget()
    if damage == "other":
        stored_objects.write_over(served.registry.blobs, digest, FILES[EMBEDDING][:-1] + b"X")
    else:
        stored_objects.lose(served.registry.blobs, digest)
    answer = served.running.get(served.address())
    assert answer.status == (503 if damage == "other" else 500) and answer.json()["rule"] == "storage"
    assert checking.check(served.registry).corrupt
    with pytest.raises(ConfigError, match="would not be whole"):
        backup.back_up(served.registry, served.running.folder.parent / "x.tar")


def test_files_that_hang_hold_up_nobody_else(
    served: Served, postgresql: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody locks the table of files: lists, the keyring, withdrawals and health are answered all the same."""
    path = served.address()
    served.forget()
    monkeypatch.setattr(served.application.state, "store_reads", StoreReads(at_once=2, most_waiting=40))
    answers = list[int]()
    waiting = [
        threading.Thread(target=lambda: answers.append(served.running.get(path).status)) for _ in range(45)
    ]  # more than a process has threads for all it does
    with postgresql.connect() as db, db.transaction():
        db.execute(f"LOCK TABLE {served.schema}.file_content IN ACCESS EXCLUSIVE MODE")
        for thread in waiting:
            thread.start()
        time.sleep(0.5)
        began = time.monotonic()
        for other in ("/healthz", "/readyz", "/api/models", "/embhub/v1/trust", "/embhub/v1/advisories"):
            assert served.running.get(other).status == 200, other
        assert time.monotonic() - began < 8, "neither the event loop nor the threads of others wait for files"
    for thread in waiting:
        thread.join(timeout=30)
    assert len(answers) == 45 and set(answers) <= {200, 503} and 503 in answers, "who finds no place learns so"
