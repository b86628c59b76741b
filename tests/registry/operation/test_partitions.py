"""A server that is cut off from the database, or while it appends to the log."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from embhub.release.files import EMBEDDING
from tests.support import pushes, releases
from tests.support.logs import leaf_name
from tests.support.postgres import Server
from tests.support.relays import Relay, relay
from tests.support.replicas import LogWatcher, Replicas, make_replicas, wait_for
from tests.support.servers import Answer

pytestmark = pytest.mark.thorough
NAME = "radboud/prostate-cspca"
FAR, NEAR = 1, 0  # the server behind the relay, and the one that is not


@dataclass
class Cluster:
    """Two servers, of which one reaches the database through a relay."""

    replicas: Replicas
    database: Relay
    alice: str
    stored: list[dict[str, bytes]] = field(default_factory=list)
    replaced: str | None = None

    def start_far(self) -> None:
        """Start the server behind the relay."""
        schema = self.replicas.address.partition("&")[2]
        address = f"postgresql://embhub@127.0.0.1:{self.database.port}/embhub?{schema}"
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("EMBHUB_REGISTRY_DATABASE", address)
            self.replicas.start(FAR)

    def next_release(self) -> dict[str, bytes]:
        """The release that replaces the last one that was stored."""
        number = len(self.stored)
        artifact = releases.make_embedding(seed=88_000 + number)
        release = releases.make_release(
            artifact=artifact, audited=False, replaces=self.replaced, version=f"1.{number}.0"
        )  # fmt: skip
        return dict(release.files)

    def push(self, number: int) -> Answer:
        """The next release to a server; what was not acknowledged has to be asked for."""
        files = self.next_release()
        answer = pushes.commit(self.replicas[number], NAME, files, token=self.alice)
        if answer.status == 200:
            self.note(files)
        else:
            assert answer.status == 503 and answer.header("Retry-After"), (answer.status, answer.body)
        return answer

    def push_again(self, number: int) -> None:
        """The next release, until the server takes it: what `/readyz` says may be five seconds old."""
        wait_for("it takes a release", 20, lambda: self.push(number).status == 200)

    def note(self, files: dict[str, bytes]) -> None:
        """It is stored."""
        self.replaced = releases.make_embedding(seed=88_000 + len(self.stored)).digest
        self.stored.append(files)

    def is_ready(self, number: int) -> bool:
        return self.replicas[number].get("/readyz").status == 200


@pytest.fixture
def cluster(tmp_path: Path, postgresql: Server) -> Iterator[Cluster]:
    with relay(f"{postgresql.folder}/.s.PGSQL.5432") as database:
        replicas = make_replicas(tmp_path, postgresql, count=2)
        try:
            replicas[0].add_key(releases.SITE, namespace="radboud")
            alice = replicas[0].add_user("alice", namespace="radboud")
            made = Cluster(replicas, database, alice)
            made.start_far()
            wait_for("it signs", 20, lambda: replicas.holder(postgresql))
            replicas.start(NEAR)
            assert pushes.create(replicas[NEAR], "prostate-cspca", token=alice).status == 200
            assert made.push(FAR).status == 200
            yield made
        finally:
            replicas.stop()


def check_all(cluster: Cluster, watcher: LogWatcher) -> None:
    """Both show one log with every release that was acknowledged, and their files, bytes and all."""
    near, far = cluster.replicas[NEAR], cluster.replicas[FAR]
    wait_for("one size", 20, lambda: watcher.look(near) == watcher.look(far) > len(cluster.stored))
    entries = watcher.check(near)
    assert watcher.check(far) == entries
    names = {leaf_name(entry) for entry in entries}
    assert len(names) == len(entries)
    commits = near.get(f"/api/models/{NAME}/commits/main").json()
    assert far.get(f"/api/models/{NAME}/commits/main").json() == commits
    stored = [one["id"] for one in commits if near.get(f"/{NAME}/resolve/{one['id']}/{EMBEDDING}").status == 200]
    for commit, files in zip(stored, cluster.stored[::-1], strict=True):
        for server in (near, far):
            assert server.get(f"/{NAME}/resolve/{commit}/{EMBEDDING}").body == files[EMBEDDING]
    with near.opened() as opened:
        assert opened.audit_log.problems() == []


def test_cut_off_from_the_database(cluster: Cluster, postgresql: Server) -> None:
    """It was the one that signs: the other does. It refuses everything but that it is alive."""
    far, watcher = cluster.replicas[FAR], LogWatcher()
    assert cluster.replicas.signs(postgresql) == FAR
    watcher.look(far)
    cluster.database.cut()
    for _ in range(2):
        assert cluster.push(FAR).status == 503
    answer = far.get(f"/{NAME}/resolve/main/{EMBEDDING}")
    assert answer.status == 503 and answer.header("Retry-After"), "nobody knows whether it was withdrawn"
    assert far.get("/healthz").status == 200
    wait_for("it says so", 15, lambda: not cluster.is_ready(FAR))
    assert far.get("/readyz").json()["database"] == "cannot be read"
    took = wait_for("the other signs", 20, lambda: cluster.replicas.signs(postgresql) == NEAR)
    print(f"cut off from the database: another signs after {took:.1f} s")
    for _ in range(2):
        assert cluster.push(NEAR).status == 200
    assert cluster.is_ready(NEAR) and watcher.look(cluster.replicas[NEAR]) > len(cluster.stored)
    cluster.database.mend()
    took = wait_for("it is back", 20, lambda: cluster.is_ready(FAR))
    print(f"mended: ready after {took:.1f} s")
    assert cluster.push(FAR).status == 200
    check_all(cluster, watcher)


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "passes_last", [False, True], ids=["before the checkpoint", "after COMMIT, without its answer"]
)
def test_cut_off_while_it_appends(cluster: Cluster, postgresql: Server, passes_last: bool) -> None:
    """The checkpoint is stored or not; the next one that signs goes on from what is stored, and there is one tree."""
    watcher = LogWatcher()
    before = watcher.look(cluster.replicas[FAR])
    assert cluster.replicas.signs(postgresql) == FAR
    markers = (b"INSERT INTO log_checkpoint", b"COMMIT") if passes_last else (b"INSERT INTO log_checkpoint",)
    cluster.database.cut_at(*markers, passes_last=passes_last)
    answers: list[Answer] = []
    pusher = threading.Thread(target=lambda: answers.append(cluster.push(NEAR)))
    with watcher.watching(cluster.replicas.servers):
        pusher.start()
        assert cluster.database.fired.wait(30), "the checkpoint of this push was cut"
        wait_for("the other signs", 20, lambda: cluster.replicas.signs(postgresql) == NEAR)
        pusher.join()
        assert answers[0].status == 200, "stored by the other; its entry is signed by whoever signs"
        assert cluster.push(NEAR).status == 200
        wait_for("signed", 20, lambda: watcher.look(cluster.replicas[NEAR]) == before + 2)
        cluster.database.mend()
        wait_for("it is back", 20, lambda: cluster.is_ready(FAR))
        assert cluster.push(FAR).status == 200
    check_all(cluster, watcher)


def test_cut_off_within_a_push(cluster: Cluster) -> None:
    """Of its last statement nobody knows: 503, and the release is whole on every server, or absent."""
    watcher = LogWatcher()
    for passes_last in (False, True):
        files = cluster.next_release()
        cluster.database.cut_at(b"INSERT INTO log_entry", b"COMMIT", passes_last=passes_last)
        answer = cluster.push(FAR)
        assert answer.status == 503 and cluster.database.fired.wait(5)

        def found(pushed: bytes = files[EMBEDDING]) -> bool:
            return cluster.replicas[NEAR].get(f"/{NAME}/resolve/main/{EMBEDDING}").body == pushed

        if passes_last:  # the database hears COMMIT, and may still be at it
            wait_for("the release is there", 20, found)
            cluster.note(files)
        else:
            assert not found()
        cluster.database.mend()
        cluster.push_again(FAR)
        wait_for("it is ready", 20, lambda: cluster.is_ready(FAR))
    check_all(cluster, watcher)
