"""Migrations, transactions, and lists by key."""

from __future__ import annotations

import gc
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from embhub_registry.database import Database, DatabaseBusyError, StorageFullError, schema
from embhub_registry.database.engines.sqlite import HEAP_BYTES, translated
from embhub_registry.database.people import accounts
from embhub_registry.database.releases import repositories, search
from embhub_registry.database.releases.repositories import Entry, Revision
from embhub_registry.database.standing import tombstones
from tests.support import postgres
from tests.support.databases import new_database
from tests.support.servers import environment

of_a_file = pytest.mark.skipif(postgres.CHOSEN, reason="SQLite's file is looked at")
DAY = "2026-11-20T00:00:00.000Z"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = new_database(tmp_path / "x.db")
    schema.migrate(made)
    with made.writing() as db:
        accounts.add_namespace(db, "radboud", now=DAY)
        accounts.add_namespace(db, "lumc", now=DAY)
    yield made
    made.close()


@of_a_file
def test_it_is_durable_by_setting(database: Database) -> None:
    db = database.connection()
    assert db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert db.execute("PRAGMA synchronous").fetchone()[0] == 2
    assert db.execute("PRAGMA foreign_keys").fetchone()[0] == 1
    assert database.problems() == []


def test_a_transaction_is_whole_or_nothing(database: Database) -> None:
    with pytest.raises(RuntimeError), database.writing() as db:
        accounts.write_setting(db, "a", "1")
        raise RuntimeError
    assert accounts.read_setting(database.connection(), "a") is None


@of_a_file
def test_a_writer_that_waits_too_long_is_told_so(database: Database) -> None:
    impatient = Database(database.path, patience=0.05)
    with database.writing(), pytest.raises(DatabaseBusyError):
        seen: list[BaseException] = []

        def write() -> None:
            try:
                with impatient.writing() as db:
                    accounts.write_setting(db, "b", "1")
            except DatabaseBusyError as error:
                seen.append(error)

        thread = threading.Thread(target=write)
        thread.start()
        thread.join()
        raise seen[0]
    impatient.close()


@pytest.mark.parametrize("text", ["database or disk is full", "attempt to write a readonly database", "disk I/O error"])
def test_a_disk_that_refuses(text: str) -> None:
    with pytest.raises(StorageFullError), translated():
        raise sqlite3.OperationalError(text)


@of_a_file
def test_a_read_only_file(database: Database, tmp_path: Path) -> None:
    database.connection().execute("PRAGMA query_only = ON")
    with pytest.raises(StorageFullError), database.writing() as db:
        accounts.write_setting(db, "a", "1")


def add(database: Database, name: str, *, namespace: str = "radboud", private: bool = False, day: int = 1) -> int:
    with database.writing() as db:
        return repositories.add(db, namespace, name, private=private, now=f"2026-11-{day:02d}T00:00:00.000Z")


def names(database: Database, **query: Any) -> list[str]:
    return [r.name for r in search.run(database.connection(), search.Query(**query))]


def test_lists(database: Database) -> None:
    for day in range(1, 8):
        add(database, f"r{day}", day=day)
    add(database, "hidden", private=True, day=9)
    add(database, "other", namespace="lumc", day=10)
    assert names(database)[:3] == ["other", "r7", "r6"]
    assert names(database, readers=["radboud"])[1] == "hidden" and "hidden" not in names(database, readers=["lumc"])
    assert "hidden" in names(database, everything=True)
    assert names(database, author="lumc") == ["other"]
    assert search.count(database.connection()) == 8
    seen, after = [], None
    while True:
        page = search.run(database.connection(), search.Query(limit=3, after=after))
        seen += [r.name for r in page[:3]]
        if len(page) <= 3:
            break
        after = (page[2].position, page[2].id)
    assert seen == names(database)


@pytest.mark.parametrize(
    ("text", "found"),
    [("prostate", True), ("ROSTAT", True), ("pr", True), ("prostate cancer", True), ("prostate lung", False),
     ('"', False), ("'; DROP TABLE repository; --", False), ("*", False)],
)  # fmt: skip
def test_search_is_by_substring_and_takes_any_text(database: Database, text: str, found: bool) -> None:
    identity = add(database, "r")
    with database.writing() as db:
        repositories.describe(db, identity, {}, tags=["x"], text="radboud/r prostate cancer")
    assert bool(names(database, text=text)) is found
    assert names(database, tags=["x"]) == ["r"] and names(database, tags=["y"]) == []


def test_blobs_go_with_the_last_repository_that_holds_them(database: Database) -> None:
    first, second = add(database, "a"), add(database, "b")
    shared, own = Entry("README.md", "1" * 64, 3, "a" * 40), Entry("audit.json", "2" * 64, 3, "b" * 40)
    with database.writing() as db:
        for identity, entries in ((first, [shared, own]), (second, [shared])):
            revision = Revision("c" * 40, None, "anna", DAY, "t", "")
            repositories.add_revision(db, identity, revision, entries)
            repositories.set_ref(db, identity, kind="branch", name="main", revision_id="c" * 40)
        assert repositories.delete(db, first) == ["2" * 64]
        assert repositories.delete(db, second) == ["1" * 64]
    assert database.problems() == []


def test_a_keyring_version_is_never_replaced(database: Database) -> None:
    with database.writing() as db:
        accounts.add_keyring(db, version=1, envelope=b"x", now=DAY)
    with pytest.raises(Exception, match=r"(?i)unique"), database.writing() as db:
        accounts.add_keyring(db, version=1, envelope=b"y", now=DAY)
    assert accounts.newest_keyring(database.connection()) == (1, b"x")


@of_a_file
def test_its_files_are_their_owners_alone(tmp_path: Path) -> None:
    """The folder keeps others out already; one that was opened up should not let them in."""
    before = os.umask(0)
    try:
        made = Database(tmp_path / "x.db")
        schema.migrate(made)
        files = sorted(tmp_path.iterdir())
        assert len(files) == 3 and {file.stat().st_mode & 0o777 for file in files} == {0o600}, files
        made.path.chmod(0o644)
        made.close()
        again = Database(made.path)
        again.connection()
        assert made.path.stat().st_mode & 0o777 == 0o600, "one of an older version is closed to others"
        again.close()
    finally:
        os.umask(before)


@of_a_file
def test_a_further_connection_leaves_the_locks_of_the_others(database: Database) -> None:
    """Closing any handle of a database drops its locks; then another process, at its end, removes the log of writes."""
    database.connection()
    thread = threading.Thread(target=database.connection)
    thread.start()
    thread.join()
    log = database.path.with_name(f"{database.path.name}-wal")
    assert log.exists()
    code = f"import sqlite3; db = sqlite3.connect({str(database.path)!r})"
    code += "; db.execute('SELECT count(*) FROM sqlite_master').fetchall(); db.close()"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert log.exists()


def test_an_object_deleted_again_is_kept_for_its_new_time(database: Database) -> None:
    with database.writing() as db:
        tombstones.doom(db, ["0" * 64], repository="x/y", due="2000-01-01T00:00:00.000Z")
        assert not tombstones.spare(db, "0" * 64, until="2026-01-01T00:00:00.000Z")
        tombstones.doom(db, ["0" * 64], repository="x/y", due="2099-01-01T00:00:00.000Z")
        assert tombstones.spare(db, "0" * 64, until="2026-01-01T00:00:00.000Z")
        assert "0" * 64 in tombstones.kept(db)
        tombstones.mark_purged(db, "0" * 64, now="2026-01-01T00:00:00.000Z")
        assert tombstones.spare(db, "0" * 64, until="2100-01-01T00:00:00.000Z")


def test_the_connection_of_a_thread_that_ended_is_closed(database: Database) -> None:
    """Servers end threads that rest, and start others: kept connections would keep their pages."""
    database.connection().execute("SELECT 1")
    before = database.open_connections()
    for _ in range(20):
        thread = threading.Thread(target=lambda: database.connection().execute("SELECT 1").fetchone())
        thread.start()
        thread.join()
    gc.collect()
    assert database.open_connections() == before


CLOSING = """
import sys, threading, time
from pathlib import Path
from embhub_registry.database.engines.sqlite import SqliteDatabase

for turn in range(60):
    database, ended = SqliteDatabase(Path(sys.argv[1]) / f"{turn}.db"), threading.Event()
    database.connection().execute("CREATE TABLE t (a)")

    def work():
        while not ended.is_set():
            database.connection().execute("INSERT INTO t VALUES (1)")
            database.connection().execute("SELECT count(*) FROM t").fetchone()

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for _ in range(3):
        time.sleep(0.004)
        database.close()
    ended.set()
    for worker in workers:
        worker.join()
"""


@of_a_file
def test_threads_that_work_while_the_database_is_closed_do_not_crash_the_process(tmp_path: Path) -> None:
    """A server that stops closes its database while upkeep may read it: the driver then reads freed memory."""
    ended = subprocess.run([sys.executable, "-c", CLOSING, tmp_path], env=environment(), capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


@of_a_file
def test_closing_folds_the_log_into_the_file_where_nobody_works(tmp_path: Path) -> None:
    database = Database(tmp_path / "y.db")
    schema.migrate(database)
    worked, resting = threading.Event(), threading.Event()

    def work() -> None:
        database.connection().execute("SELECT 1").fetchone()
        worked.set()
        resting.wait(30)

    thread = threading.Thread(target=work)
    thread.start()
    assert worked.wait(30)
    database.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["y.db"]
    resting.set()
    thread.join()


@pytest.mark.skipif(postgres.CHOSEN, reason="a server's memory is its operator's")
def test_the_pages_of_all_connections_together_are_bounded(database: Database) -> None:
    assert database.connection().execute("PRAGMA soft_heap_limit").fetchone()[0] == HEAP_BYTES
