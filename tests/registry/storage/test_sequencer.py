"""Group commit: several changes become durable by one COMMIT, and each stays whole, or away, by itself."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from embhub.log import merkle
from embhub_registry.database import Connection, Database, DatabaseBusyError, StorageFullError
from embhub_registry.database.logs import log_rows
from embhub_registry.database.logs.sequencer import Sequencer
from embhub_registry.operation.opening import open_folder
from embhub_registry.storage import database_place, folder, log_entries
from embhub_registry.storage.folder import Registry
from embhub_registry.storage.log import registry_log
from tests.support import logs, postgres
from tests.support.quick import quick


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    made = folder.create(
        tmp_path / "hub", name="Test", url="https://hub.example.org", audit="optional", online_keys=tmp_path / "online"
    )
    yield made
    made.close()


def adding(number: int) -> Callable[[Connection], int]:
    return lambda db: log_entries.add(db, logs.make_leaf(number))


def stored(registry: Registry) -> list[bytes]:
    """What another connection reads: only what was committed."""
    other = Database(database_place.find(registry.folder))
    try:
        return [row[0] for row in other.connection().execute("SELECT leaf FROM log_entry ORDER BY place")]
    finally:
        other.close()


def test_one_commit_serves_everybody_who_waits(registry: Registry) -> None:
    statements: list[str] = []
    registry.database.connection().set_trace_callback(statements.append)
    tickets = [registry.sequencer.submit(adding(number)) for number in range(40)]
    assert len(stored(registry)) == 1, "only the keyring: nothing is stored before somebody waits for it"
    assert tickets[7].result() == 8 and len(stored(registry)) == 41
    assert [ticket.result() for ticket in tickets] == list(range(1, 41))
    assert statements.count("COMMIT") == 1


def test_what_fails_takes_nobody_with_it_and_leaves_no_gap(registry: Registry) -> None:
    def fail(db: Connection) -> int:
        log_entries.add(db, logs.make_leaf(1_000))
        raise LookupError("refused")

    first, failing, last = map(registry.sequencer.submit, (adding(1), fail, adding(2)))
    assert (first.result(), last.result()) == (1, 2)
    for _ in range(2):
        with pytest.raises(LookupError, match="refused"):
            failing.result()
    assert stored(registry)[1:] == [logs.make_leaf(number).to_bytes() for number in (1, 2)]
    assert registry.sequencer.run(adding(1_000)) == 3


@pytest.mark.skipif(postgres.CHOSEN, reason="SQLite's file is kept from growing")
def test_a_disk_that_is_full_is_said_to_everybody_and_nothing_is_stored(registry: Registry) -> None:
    db = registry.database.connection()
    pages = int(db.execute("PRAGMA page_count").fetchone()[0])
    db.execute(f"PRAGMA max_page_count = {pages}")
    tickets = [registry.sequencer.submit(adding(number)) for number in range(2_000)]
    for ticket in (tickets[-1], *tickets):
        with pytest.raises(StorageFullError):
            ticket.result()
    assert len(stored(registry)) == 1
    db.execute("PRAGMA max_page_count = 4294967294")
    assert registry.sequencer.run(adding(1)) == 1


def test_another_writer_is_waited_for_and_then_said(registry: Registry) -> None:
    database = Database(database_place.find(registry.folder), patience=0.05)
    sequencer = Sequencer(database)
    with registry.database.writing():
        tickets = [sequencer.submit(adding(number)) for number in range(3)]
        for ticket in tickets:
            with pytest.raises(DatabaseBusyError):
                ticket.result()
    assert sequencer.run(adding(1)) == 1
    database.close()


def test_many_threads_get_each_its_own_index(registry: Registry) -> None:
    got: dict[int, int] = {}

    def client(first: int) -> None:
        for number in range(first, first + 20):
            got[number] = registry.sequencer.run(adding(number))

    threads = [threading.Thread(target=client, args=(100 * number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got.values()) == list(range(1, 401))
    held = stored(registry)
    assert all(held[place] == logs.make_leaf(number).to_bytes() for number, place in got.items())


def test_the_leader_hands_over_after_its_own_group(registry: Registry) -> None:
    """Work that comes while a group is committed waits for the next one, and never for ever."""
    begun, go = threading.Event(), threading.Event()

    def slow(db: Connection) -> int:
        begun.set()
        assert go.wait(10)
        return adding(1)(db)

    leader = threading.Thread(target=registry.sequencer.run, args=(slow,))
    leader.start()
    assert begun.wait(10)
    later = registry.sequencer.submit(adding(2))
    follower = threading.Thread(target=later.result)
    follower.start()
    go.set()
    leader.join(10)
    follower.join(10)
    assert not leader.is_alive() and not follower.is_alive() and later.result() == 2


def test_a_transaction_within_a_transaction_is_a_mistake_and_no_deadlock(registry: Registry) -> None:
    with pytest.raises(RuntimeError, match="within"):
        registry.sequencer.run(lambda db: registry.sequencer.run(adding(1)))
    assert registry.sequencer.run(adding(1)) == 1


def test_an_interrupted_leader_leaves_nobody_waiting(registry: Registry) -> None:
    def interrupt(db: Connection) -> int:
        raise KeyboardInterrupt

    stopping, other = registry.sequencer.submit(interrupt), registry.sequencer.submit(adding(1))
    with pytest.raises(KeyboardInterrupt):
        stopping.result()
    with pytest.raises(DatabaseBusyError):
        other.result()
    assert len(stored(registry)) == 1 and registry.sequencer.run(adding(1)) == 1


def append_for_ever(place: Path, first: int, out: int) -> None:
    """In a process of its own: twelve clients append, and say which index they got; a thirteenth signs."""
    registry = open_folder(place)

    def client(number: int) -> None:
        while True:
            index = registry.sequencer.run(adding(number))
            os.write(out, f"{number} {index}\n".encode())
            number += 12

    for step in range(12):
        threading.Thread(target=client, args=(first + step,), daemon=True).start()
    while True:
        registry_log.publish(registry)


def spawn(place: Path, first: int) -> tuple[int, int]:
    """A child that appends; its process and the end of the pipe on which it says so."""
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        try:
            append_for_ever(place, first, writing)
        finally:
            os._exit(1)
    os.close(writing)
    return child, reading


@pytest.mark.parametrize("processes", quick([1], thorough=[2]))
def test_kill_9_of_a_group_loses_nothing_acknowledged_and_forks_nothing(registry: Registry, processes: int) -> None:
    registry_log.publish(registry)
    key, choose = registry.trust().keyring.log_key, random.Random(18)
    assert key is not None
    acknowledged, before = dict[int, int](), (0, merkle.EMPTY)
    for turn in range(4):
        registry.close()
        children = [spawn(registry.folder, (10 * turn + number) * 100_000) for number in range(processes)]
        streams = [os.fdopen(reading) for _, reading in children]
        lines = [stream.readline() for stream in streams]
        time.sleep(choose.uniform(0.0, 0.6 if postgres.CHOSEN else 0.15))  # a commit of a server takes longer
        for child, _ in children:
            os.kill(child, signal.SIGKILL)
        lines += [line for stream in streams for line in stream.read().splitlines()]
        for (child, _), stream in zip(children, streams, strict=True):
            stream.close()
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        acknowledged |= {int(a): int(b) for a, _, b in (line.strip().partition(" ") for line in lines) if b}
        registry_log.publish(registry)
        signed, entries = logs.audit(registry.folder / "log", key)
        assert merkle.root_of(map(merkle.leaf_hash, entries[: before[0]])) == before[1]
        assert all(entries[place] == logs.make_leaf(number).to_bytes() for number, place in acknowledged.items())
        assert len(set(acknowledged.values())) == len(acknowledged)
        before = (signed.size, signed.root)
    assert len(acknowledged) >= 12 and log_rows.size(registry.database.connection()) == before[0]
