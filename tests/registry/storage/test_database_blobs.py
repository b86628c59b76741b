"""Files in PostgreSQL: whole or refused, part of the commit that names them, never removed under one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from embhub_registry.database import Connection, Database, schema
from embhub_registry.database.releases import file_contents, repositories
from embhub_registry.storage.stores.blobs import DamagedBlobError, MissingBlobError, sha256
from embhub_registry.storage.stores.database_blobs import DatabaseBlobs
from tests.support.postgres import Server

HELLO = b"hello" * 1000
NAME = sha256(HELLO)


@pytest.fixture
def databases(postgresql: Server) -> Iterator[tuple[Database, Database]]:
    """Two servers of one registry."""
    address = postgresql.new_schema()
    both = Database(address), Database(address)
    schema.migrate(both[0])
    yield both
    for database in both:
        database.close()


@pytest.fixture
def blobs(databases: tuple[Database, Database]) -> DatabaseBlobs:
    return DatabaseBlobs(databases[0])


def write_over(database: Database, digest: str, data: bytes) -> None:
    database.connection().execute("UPDATE file_content SET content = ? WHERE digest = ?", (data, digest))


def test_what_is_stored_is_what_is_read(blobs: DatabaseBlobs, databases: tuple[Database, Database]) -> None:
    every_byte = bytes(range(256)) * 4000
    for data in (HELLO, b"", every_byte, HELLO):
        assert blobs.put(data) == sha256(data)
        assert blobs.get(sha256(data)) == DatabaseBlobs(databases[1]).read(sha256(data)) == data
        assert blobs.size(sha256(data)) == len(data) and blobs.verify(sha256(data), len(data)) is None
    assert list(blobs.stored()) == sorted(map(sha256, (HELLO, b"", every_byte)))
    blobs.delete(NAME)
    assert NAME not in blobs.stored() and blobs.size(NAME) == 0 and blobs.remembered(NAME) is None
    with pytest.raises(MissingBlobError):
        blobs.get(NAME)
    assert "cannot be read" in str(blobs.verify(NAME, 5000))


def test_damage_is_refused_and_healed(blobs: DatabaseBlobs, databases: tuple[Database, Database]) -> None:
    blobs.put(HELLO)
    write_over(databases[1], NAME, HELLO[:-1] + b"!")
    with pytest.raises(DamagedBlobError):
        blobs.get(NAME)
    assert "holds other bytes" in str(blobs.verify(NAME, len(HELLO)))
    blobs.put(HELLO)
    assert blobs.get(NAME) == HELLO


def test_bytes_are_not_compressed(blobs: DatabaseBlobs, databases: tuple[Database, Database]) -> None:
    blobs.put(b"x" * 1_000_000)
    row = databases[0].connection().execute("SELECT pg_column_size(content) FROM file_content").fetchone()
    assert row[0] >= 1_000_000


def test_what_a_commit_does_not_name_is_not_there(blobs: DatabaseBlobs, databases: tuple[Database, Database]) -> None:
    with pytest.raises(RuntimeError), databases[0].writing():
        blobs.put(HELLO)
        raise RuntimeError
    assert list(blobs.stored()) == []


def test_every_digest_is_listed_by_batches(blobs: DatabaseBlobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_contents, "_BATCH", 3)
    names = sorted(blobs.put(b"%d" % number) for number in range(9))
    assert list(blobs.stored()) == names


@contextmanager
def transaction(database: Database) -> Iterator[Connection]:
    """One without the turn that writers take: rows alone keep two of them apart."""
    db = database.connection()
    db.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
    try:
        yield db
    finally:
        db.execute("COMMIT")


def waits(database: Database) -> bool:
    """Whether a connection of this database waits for a row."""
    statement = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    return bool(database.connection().execute(statement).fetchone()[0])


def name(db: Connection) -> None:
    """What a commit does, before and after it stores the bytes."""
    db.execute("INSERT INTO blob VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (NAME, len(HELLO), "0" * 40))


def meanwhile(database: Database, work: object) -> threading.Thread:
    """A thread that does `work` in a transaction of its own, and has to wait."""
    assert callable(work)

    def run() -> None:
        with transaction(database) as db:
            work(db)

    thread = threading.Thread(target=run)
    thread.start()
    for _ in range(200):
        if waits(database):
            return thread
        thread.join(0.02)
    raise AssertionError("it waits for nothing")


def bring(db: Connection) -> None:
    """A commit of the same bytes on another server."""
    name(db)
    file_contents.put(db, NAME, HELLO)


@pytest.mark.parametrize("is_there", [True, False], ids=["stored before", "new"])
def test_a_removal_that_comes_second_sees_the_commit(
    blobs: DatabaseBlobs, databases: tuple[Database, Database], is_there: bool
) -> None:
    if is_there:
        blobs.put(HELLO)
    with transaction(databases[0]) as db:
        bring(db)
        if not is_there:  # nobody else sees it yet, so that there is nothing to wait for
            with transaction(databases[1]) as other:
                assert not file_contents.remove(other, NAME)
            return
        thread = meanwhile(databases[1], lambda other: file_contents.remove(other, NAME))
    thread.join()
    assert blobs.read(NAME) == HELLO and repositories.blob_is_known(databases[0].connection(), NAME)


def test_a_commit_that_comes_second_stores_the_bytes_again(
    blobs: DatabaseBlobs, databases: tuple[Database, Database]
) -> None:
    blobs.put(HELLO)
    with transaction(databases[0]) as db:
        assert file_contents.remove(db, NAME)
        thread = meanwhile(databases[1], bring)
    thread.join()
    assert blobs.read(NAME) == HELLO and repositories.blob_is_known(databases[0].connection(), NAME)


def test_a_removal_that_is_undone_takes_nothing(blobs: DatabaseBlobs, databases: tuple[Database, Database]) -> None:
    blobs.put(HELLO)
    with pytest.raises(RuntimeError), databases[0].writing():
        blobs.delete(NAME)
        raise RuntimeError
    assert blobs.get(NAME) == HELLO


def test_commits_and_removals_beside_each_other_lose_nothing(databases: tuple[Database, Database]) -> None:
    """Many digests, two servers, without the turn of writers: no deadlock, and what is named is there."""
    data = sorted((b"%d" % number for number in range(20)), key=sha256)
    failed: list[BaseException] = []

    def work(database: Database, number: int) -> None:
        try:
            for turn in range(20):
                with transaction(database) as db:
                    for each in data:
                        if (turn + number) % 2:
                            file_contents.put(db, sha256(each), each)
                        else:
                            file_contents.remove(db, sha256(each))
        except BaseException as error:  # noqa: BLE001  # for the test to show
            failed.append(error)

    threads = [threading.Thread(target=work, args=(databases[n % 2], n)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
