"""Three servers over one database: one log, one audit log, whichever server is asked."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from embhub.release.files import EMBEDDING
from embhub_registry.operation.observability import health
from embhub_registry.operation.opening import open_folder
from embhub_registry.storage import log_entries
from embhub_registry.storage.log import log_publishing, registry_log
from tests.support import pushes, releases
from tests.support.logs import leaf_name, make_leaf
from tests.support.people import Person
from tests.support.postgres import Server
from tests.support.replicas import LogWatcher, Replicas, make_replicas, suspend, wait_for

pytestmark = pytest.mark.slow
NAME = "radboud/prostate-cspca"
_CHAINS: dict[str, list[dict[str, bytes]]] = {}


def chain(namespace: str, versions: int) -> list[dict[str, bytes]]:
    """Signed releases of one repository, each of which replaces the one before."""
    made, replaces = _CHAINS.setdefault(namespace, []), None
    if len(made) < versions:
        made.clear()
        for version in range(versions):
            seed = 1000 * sum(namespace.encode()) + version  # bytes that no other namespace has
            artifact, key = releases.make_embedding(seed=seed), releases.make_key(namespace)
            release = releases.make_release(
                artifact=artifact, audited=False, key=key, repository=f"{namespace}/prostate-cspca", replaces=replaces,
                version=f"1.{version}.0",
            )  # fmt: skip
            made.append(dict(release.files))
            replaces = artifact.digest
    return made[:versions]


@pytest.fixture
def replicas(tmp_path: Path, postgresql: Server) -> Iterator[Replicas]:
    made = make_replicas(tmp_path, postgresql)
    yield made
    made.stop()


@pytest.fixture
def alice(replicas: Replicas) -> str:
    return publisher(replicas, "radboud")


def publisher(replicas: Replicas, namespace: str) -> str:
    """A new account's token; its namespace has the key that `chain` signs with."""
    replicas[0].add_key(releases.make_key(namespace), namespace=namespace)
    return replicas[0].add_user(f"alice-{namespace}", namespace=namespace)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, postgresql: Server) -> Iterator[Replicas]:
    """Three servers that nothing happens to, for all tests that only ask them."""
    made = make_replicas(tmp_path_factory.mktemp("running"), postgresql)
    made.start()
    yield made
    made.stop()


def test_what_one_server_stores_every_server_shows(running: Replicas) -> None:
    replicas, alice = running, publisher(running, "radboud")
    first, second, third = replicas.servers
    assert pushes.create(first, "prostate-cspca", token=alice).status == 200
    stored = pushes.commit(second, NAME, chain("radboud", 2)[0], token=alice)
    assert stored.status == 200, stored.body
    path = f"/{NAME}/resolve/main/README.md"
    assert {server.get(path).status for server in replicas.servers} == {200}
    watcher = LogWatcher()
    sizes = {watcher.look(server) for server in replicas.servers}
    assert len(sizes) == 1, "a push is acknowledged with its entries signed, and every server shows that"
    entries = [watcher.check(server) for server in replicas.servers]
    assert entries[0] == entries[1] == entries[2] and len(entries[0]) >= 2
    proofs = {server.get(f"/log/proof/{leaf_name(entries[0][-1])}").body for server in replicas.servers}
    assert len(proofs) == 1
    deleted = third.request(
        "DELETE", "/api/repos/delete", token=replicas[0].admin,
        json_body={"name": "prostate-cspca", "organization": "radboud", "type": "model"},
    )  # fmt: skip
    assert deleted.status == 200, deleted.body
    assert {server.get(path).status for server in replicas.servers} == {410}, "at once, on every server"
    assert {server.get("/readyz").status for server in replicas.servers} == {200}
    for server in replicas.servers:
        with server.opened() as opened:
            assert opened.audit_log.problems() == [] and registry_log.problems(opened) == []
            events = [json.loads(line)["event"] for line in opened.audit_log.lines()]
            assert events[0] == "init" and "shared" in events and "repository-deleted" in events
            assert not opened.audit_log.path.exists()


def test_five_tries_of_a_login_code_at_all_servers_together(running: Replicas) -> None:
    statuses = []
    for number in range(8):
        thief = Person(running[number % 3])
        thief.open("/login")
        statuses.append(thief.send("/login/code", name="admin", code="000000").status)
    assert statuses == [403] * 5 + [429] * 3


def test_of_two_commits_upon_one_parent_one_is_stored(running: Replicas) -> None:
    """Whichever servers they come to: the other gets the refusal that it would get from a single server."""
    replicas, alice = running, publisher(running, "lumc")
    pushes.create(replicas[0], "notes", token=alice)
    parent = pushes.commit(replicas[0], "lumc/notes", {"README.md": b"start\n"}, token=alice).json()["commitOid"]
    headers = {"Content-Type": "application/x-ndjson"}
    for turn in range(6):
        bodies = [pushes.commit_body({"README.md": b"%d %d\n" % (turn, number)}, parent=parent) for number in range(4)]
        with ThreadPoolExecutor(4) as pool:
            sent = [
                pool.submit(
                    replicas[number % 2].request, "POST", "/api/models/lumc/notes/commit/main",
                    token=alice, headers=headers, body=body,
                )
                for number, body in enumerate(bodies)
            ]  # fmt: skip
            answers = [one.result() for one in sent]
        statuses = sorted(answer.status for answer in answers)
        assert statuses == [200, 412, 412, 412], [answer.body for answer in answers]
        parent = next(answer.json()["commitOid"] for answer in answers if answer.status == 200)
        for server in replicas.servers[:2]:
            assert server.get("/api/models/lumc/notes", token=alice).json()["sha"] == parent


def test_a_quota_holds_across_servers(running: Replicas) -> None:
    replicas, alice = running, publisher(running, "amc")
    replicas[0].run("quota", "set", "amc", "--repositories", "5")
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda n: pushes.create(replicas[n % 3], f"repo-{n}", token=alice).status, range(12)))
    assert sorted(answers) == [200] * 5 + [403] * 7


def test_what_was_withdrawn_is_seen_nowhere(running: Replicas) -> None:
    """Zero seconds later: every answer from a cache asks the database for its state first."""
    replicas, alice, name = running, publisher(running, "nki"), "nki/prostate-cspca"
    pushes.create(replicas[0], "prostate-cspca", token=alice)
    assert pushes.commit(replicas[0], name, chain("nki", 1)[0], token=alice).status == 200
    path = f"/{name}/resolve/main/{EMBEDDING}"
    for turn in range(6):
        for server in replicas.servers:
            assert server.get(path).status == server.get(path).status == 200
        body = {"private": True}
        changed = replicas[turn % 3].request(
            "PUT", f"/api/models/{name}/settings", token=replicas[0].admin, json_body=body
        )
        assert changed.status == 200, changed.body
        assert [server.get(path).status for server in replicas.servers] == [404] * 3
        body = {"private": False}
        replicas[turn % 3].request("PUT", f"/api/models/{name}/settings", token=replicas[0].admin, json_body=body)


def push_all(
    replicas: Replicas, alice: str, namespace: str, versions: int, acknowledged: list[bytes], way: int
) -> None:
    """Push one release after the other, to each server in turn, again where one does not answer."""
    for number, files in enumerate(chain(namespace, versions)):
        for attempt in range(60):
            server = replicas[(way + number + attempt) % len(replicas.servers)]
            try:
                answer = pushes.commit(server, f"{namespace}/prostate-cspca", files, token=alice)
            except OSError:
                time.sleep(0.1)
                continue
            if answer.status == 200:
                acknowledged.append(files["attestations/publish.sigstore.json"])
                break
            time.sleep(0.2)
        else:
            raise AssertionError(f"{namespace} {number}: {answer.status} {answer.body!r}")


def is_another(replicas: Replicas, postgresql: Server, before: str) -> bool:
    return replicas.holder(postgresql) != before


@pytest.mark.thorough
def test_the_one_that_signs_is_killed_and_another_goes_on(replicas: Replicas, alice: str, postgresql: Server) -> None:
    replicas.start()
    pushes.create(replicas[0], "prostate-cspca", token=alice)
    watcher = LogWatcher()
    acknowledged: list[bytes] = []
    wrong: list[AssertionError] = []

    def work() -> None:
        try:
            push_all(replicas, alice, "radboud", 8, acknowledged, 0)
        except AssertionError as error:
            wrong.append(error)

    with watcher.watching(replicas.servers):
        pusher = threading.Thread(target=work)
        pusher.start()
        for _ in range(2):
            wait_for("somebody signs", 20, lambda: replicas.holder(postgresql))
            time.sleep(1.0)
            before = replicas.holder(postgresql)
            killed = replicas.signs(postgresql)
            replicas.kill(killed)
            took = wait_for("another signs", 10, partial(is_another, replicas, postgresql, before))
            print(f"killed: another signs after {took:.2f} s")
            assert took < 5.0, took
            replicas.start(killed)
        pusher.join()
    assert wrong == [] and len(acknowledged) == 8
    entries = watcher.check(replicas[2])
    assert len(entries) >= 8 + 1
    for server in replicas.servers:
        assert watcher.check(server) == entries


@pytest.mark.thorough
def test_one_that_was_suspended_signs_no_fork(replicas: Replicas, alice: str, postgresql: Server) -> None:
    """SIGSTOP leaves its connections open. The database ends its session, another signs, and its term is over."""
    replicas.start()
    pushes.create(replicas[0], "prostate-cspca", token=alice)
    watcher = LogWatcher()
    acknowledged: list[bytes] = []
    signing = replicas.signs(postgresql)
    others = [server for number, server in enumerate(replicas.servers) if number != signing]
    two = Replicas(others, replicas.address)
    push_all(two, alice, "radboud", 2, acknowledged, 0)
    before = replicas.holder(postgresql)
    suspend(replicas[signing])
    try:
        took = wait_for("another signs", 30, lambda: replicas.holder(postgresql) != before)
        print(f"suspended: another signs after {took:.2f} s")
        assert took < 20, took
        files = chain("radboud", 4)
        for release in files[2:]:
            stored = pushes.commit(others[0], NAME, release, token=alice)
            assert stored.status == 200, stored.body
        sizes = {watcher.look(server) for server in others}
        assert len(sizes) == 1
    finally:
        suspend(replicas[signing], how=signal.SIGCONT)
    with watcher.watching(replicas.servers):
        time.sleep(3.0)
    assert replicas.holder(postgresql) != before
    assert {len(watcher.check(server)) for server in replicas.servers} == sizes


def test_a_term_that_is_over_stores_no_checkpoint(replicas: Replicas, alice: str) -> None:
    """The fence itself: the transaction that stores a checkpoint looks for the term."""
    first, second = (open_folder(server.folder) for server in replicas.servers[:2])
    one, two = first.database.leadership("one"), second.database.leadership("two")
    assert one is not None and two is not None
    try:
        first.leadership, second.leadership = one, two
        one.turn(0.1)
        two.turn(0.1)
        assert one.term == 1 and two.term is None
        registry_log.publish(first)
        # as if it had been suspended: its lock is another's, and it does not know
        one._raw.close()  # type: ignore[attr-defined]

        def signs() -> bool:
            two.turn(0.1)
            return two.term is not None

        wait_for("PostgreSQL notices that the session is gone", 15, signs)
        assert one.term == 1 and two.term == 2
        with first.database.writing() as db:
            log_entries.add(db, make_leaf(5))
        with pytest.raises(log_publishing.TermOverError):
            registry_log.publish(first)
        assert one.term is None
        assert registry_log.publish(second)
        registry_log.follow(first)
        assert registry_log.problems(first) == registry_log.problems(second) == []
        first.private_keys.log_state.write_text("{")
        (registry_log.files_of(first).folder / "checkpoint").unlink()
        found = asyncio.run(health.Readiness().look(first))
        assert found["log"] == "cannot be read", "a damaged note is no other log"
    finally:
        for registry in (first, second):
            registry.leadership = None
            registry.close()
        for leadership in (one, two):
            leadership.close()


@pytest.mark.thorough
def test_shared_and_not_shared_again(replicas: Replicas, alice: str) -> None:
    """One server is refused beside those that share, and what needs quiet is, too; the way back keeps every line."""
    replicas.start(0)
    refused = replicas[1].run("storage", "share", "--off", check=False)
    assert refused.returncode != 0 and "in use" in refused.stderr
    assert replicas[1].run("check", check=False).returncode != 0
    replicas.start(1)
    replicas.stop()
    before = [line for line in replicas[0].run("audit", "export").stdout.splitlines() if line]
    assert replicas[0].ask("storage", "share", "--off")["shared"] is False
    after = [line for line in replicas[0].run("audit", "export").stdout.splitlines() if line]
    assert after[: len(before)] == before and json.loads(after[-1])["event"] == "not-shared"
    replicas[0].start()
    with pytest.raises(
        AssertionError, match=r"in use by another process|audit log of this registry is in another folder"
    ):
        replicas[1].start()
    replicas.stop()
    with replicas[0].opened() as opened:
        assert opened.audit_log.problems() == [] and opened.audit_log.path.exists()
    assert replicas[0].ask("storage", "share")["kept"] == ["audit.jsonl.moved"]
    with replicas[1].opened() as opened:
        assert opened.audit_log.problems() == []


def test_a_schema_that_moved_on_is_said(replicas: Replicas, postgresql: Server) -> None:
    """A newer release migrated it: a server that runs is not ready any more, and an older program does not start."""
    replicas.start(0, 1)
    assert replicas[0].get("/readyz").status == 200
    schema = replicas.address.rpartition("%3D")[2]
    with postgresql.connect() as db:
        db.execute(f"INSERT INTO {schema}.migration VALUES (999, '999_later.sql', '2030-01-01', 'x')")
    wait_for("it is noticed", 15, lambda: replicas[0].get("/readyz").status == 503)
    assert replicas[0].get("/readyz").json()["schema"] == "ahead of this program"
    assert replicas[0].get("/healthz").status == 200, "it is alive all the same"
    with pytest.raises(AssertionError, match="another release"):
        replicas.start(2)


@pytest.mark.thorough
def test_a_database_that_lost_what_was_signed_is_not_signed_again(
    replicas: Replicas, alice: str, postgresql: Server
) -> None:
    """Every server remembers the largest tree that it saw, beside its copy of the key."""
    replicas.start()
    pushes.create(replicas[0], "prostate-cspca", token=alice)
    assert pushes.commit(replicas[0], NAME, chain("radboud", 1)[0], token=alice).status == 200
    watcher = LogWatcher()
    for server in replicas.servers:
        watcher.check(server)  # each has made its files, and noted what was signed
    replicas.stop()
    schema = replicas.address.rpartition("%3D")[2]
    with postgresql.connect() as db:
        db.execute(f"ALTER TABLE {schema}.log_entry DISABLE TRIGGER USER")
        db.execute(f"DELETE FROM {schema}.log_entry WHERE place = (SELECT max(place) FROM {schema}.log_entry)")
        db.execute(f"ALTER TABLE {schema}.log_entry ENABLE TRIGGER USER")
        db.execute(f"DELETE FROM {schema}.log_checkpoint WHERE size = (SELECT max(size) FROM {schema}.log_checkpoint)")
    sizes = dict(watcher.seen)
    for number in (1, 2, 0):  # whichever is the first to sign
        replicas.start(number)
        wait_for("it is noticed", 15, lambda: replicas[number].get("/readyz").status == 503)  # noqa: B023  # called at once
        assert replicas[number].get("/readyz").json()["log"] == "not the one that was signed before"
        replicas.stop()
    with replicas[0].opened() as opened:
        largest = opened.database.connection().execute("SELECT max(size) FROM log_checkpoint").fetchone()[0]
        assert largest < max(sizes)
