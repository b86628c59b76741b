"""Servers whose clocks are an hour apart, and a server whose own disk is full: nothing is lost, and the log is one."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support import disks, pushes, releases, tools
from tests.support.logs import leaf_name
from tests.support.people import Person
from tests.support.postgres import Server
from tests.support.replicas import LogWatcher, Replicas, make_replicas, wait_for
from tests.support.servers import RunningRegistry, environment, wait_until_ready

pytestmark = pytest.mark.thorough
NAME = "radboud/prostate-cspca"
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)


@pytest.fixture(scope="module")
def chain() -> list[dict[str, bytes]]:
    """Releases of one repository, each of which replaces the one before."""
    made, replaces = [], None
    for number in range(8):
        artifact = releases.make_embedding(seed=77_000 + number)
        release = releases.make_release(artifact=artifact, audited=False, replaces=replaces, version=f"1.{number}.0")
        made.append(dict(release.files))
        replaces = artifact.digest
    return made


@pytest.fixture
def replicas(tmp_path: Path, postgresql: Server) -> Iterator[Replicas]:
    made = make_replicas(tmp_path, postgresql, count=2)
    made[0].add_key(releases.SITE, namespace="radboud")
    yield made
    made.stop()


@pytest.fixture
def alice(replicas: Replicas) -> str:
    return replicas[0].add_user("alice", namespace="radboud")


def start_at(server: RunningRegistry, offset: str) -> None:
    """Start a server whose clock is off, say by `+1h`."""
    tools.require("libfaketime", found=FAKETIME is not None)
    wrong = {"LD_PRELOAD": str(FAKETIME), "FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    port = server.url.rsplit(":", 1)[1]
    words = [sys.executable, "-m", "embhub_registry", "--dir", str(server.folder), "serve", "--port", port]
    server.log = server.folder.parent / "registry.log"
    with server.log.open("a") as log:
        server.process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=log, text=True, env={**environment(), **wrong}
        )
    wait_until_ready(server.process, server.url, log=server.log)


def push(server: RunningRegistry, files: dict[str, bytes], token: str) -> None:
    answer = pushes.commit(server, NAME, files, token=token)
    assert answer.status == 200, (server.url, answer.status, answer.body)


def newest(server: RunningRegistry) -> datetime:
    """When the last commit was made, as the registry says."""
    return datetime.fromisoformat(server.get(f"/api/models/{NAME}/commits/main").json()[0]["date"])


def check_all(replicas: Replicas, watcher: LogWatcher, stored: list[dict[str, bytes]]) -> None:
    """Every release that was acknowledged is there, in order, in the branch, the log and the audit log."""
    first = replicas[0]
    titles = first.get(f"/api/models/{NAME}/commits/main").json()
    dates = [row["date"] for row in titles]
    assert len(titles) >= len(stored) and dates == sorted(set(dates), reverse=True)
    wait_for("the log has every release", 20, lambda: len(watcher.check(first)) >= len(stored) + 1)
    entries = watcher.check(first)
    names = {leaf_name(entry) for entry in entries}
    assert len(names) == len(entries)
    with first.opened() as opened:
        assert opened.audit_log.problems() == []
        events = [json.loads(line) for line in opened.audit_log.lines()]
    assert len([row for row in events if row["event"] == "commit"]) == len(stored), {row["event"] for row in events}


def test_clocks_an_hour_apart(
    replicas: Replicas, alice: str, postgresql: Server, chain: list[dict[str, bytes]]
) -> None:
    """Ahead, killed while it signs, and behind: acknowledged in order, one log, as few tries of a code as ever."""
    first, second = replicas.servers
    start_at(second, "+1h")
    first.start()
    pushes.create(first, "prostate-cspca", token=alice)
    watcher = LogWatcher()
    for number, files in enumerate(chain[:4]):
        push(replicas[number % 2], files, alice)
        watcher.look(replicas[number % 2])
    assert newest(first) - datetime.now(UTC) > timedelta(minutes=50), "a server's clock is ahead"
    assert replicas.signs(postgresql) == 1, "it started first"
    replicas.kill(1)
    push(first, chain[4], alice)
    start_at(second, "-1h")
    for number, files in enumerate(chain[5:]):
        push(replicas[(number + 1) % 2], files, alice)
        watcher.look(replicas[number % 2])
    statuses = []
    for number in range(7):
        thief = Person(replicas[number % 2])
        thief.open("/login")
        statuses.append(thief.send("/login/code", name="admin", code="000000").status)
    assert statuses == [403] * 5 + [429] * 2
    check_all(replicas, watcher, chain)


def test_the_disk_of_the_one_that_signs_is_full(
    replicas: Replicas, alice: str, postgresql: Server, chain: list[dict[str, bytes]]
) -> None:
    """What is acknowledged is stored, the other server signs it, and the full one goes on once it has room."""
    full, other = replicas[1], replicas[0]
    kept = full.folder.rename(full.folder.with_name("kept"))
    with disks.small_disk(full.folder, kilobytes=400) as disk:
        shutil.copytree(kept, disk, dirs_exist_ok=True)
        full.start()
        wait_for("it signs", 20, lambda: replicas.holder(postgresql))
        other.start()
        pushes.create(other, "prostate-cspca", token=alice)
        watcher = LogWatcher()
        push(full, chain[0], alice)
        assert replicas.signs(postgresql) == 1
        filler = disks.fill(disk)
        for number, files in enumerate(chain[1:5]):
            answer = pushes.commit(replicas[1 - number % 2], NAME, files, token=alice)
            if answer.status != 200:
                assert answer.status == 503 and answer.header("retry-after"), answer.body
                push(other, files, alice)
            watcher.look(other)
        wait_for("the other signs", 10, lambda: replicas.signs(postgresql) == 0)
        assert full.get("/readyz").status == 503, "a proxy asks others"
        filler.unlink()
        for number, files in enumerate(chain[5:]):
            push(replicas[number % 2], files, alice)
        wait_for("it follows", 10, lambda: watcher.look(full) == watcher.look(other))
        watcher.check(full)
        check_all(replicas, watcher, chain)
        replicas.stop()
