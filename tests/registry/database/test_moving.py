"""Commands that opened a registry before `storage move` left its database, and what lies beside the file."""

from __future__ import annotations

import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from embhub.errors import ConfigError, RegistryError, UsageError
from embhub_registry.database import Database, DatabaseBusyError, reading_copy, schema
from embhub_registry.database.clock import stamp
from embhub_registry.database.engines import moving
from embhub_registry.database.engines.postgresql import PostgresqlDatabase
from embhub_registry.database.engines.sqlite import SqliteDatabase
from embhub_registry.database.people import accounts
from embhub_registry.database.releases import file_contents
from embhub_registry.database.standing import tombstones
from embhub_registry.operation import administration
from embhub_registry.operation.backups import moving as operation
from embhub_registry.operation.opening import open_folder
from embhub_registry.storage import database_place, folder
from embhub_registry.storage.folder import Registry
from embhub_registry.storage.stores.blobs import git_oid, sha256
from embhub_registry.storage.stores.database_blobs import DatabaseBlobs
from embhub_registry.storage.stores.folder_blobs import FolderBlobs
from tests.support import every_table, stored_objects
from tests.support.postgres import Server

URL = "http://127.0.0.1:9"
Open = Callable[[], Registry]


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Opens one registry as many times as it is called, each as another command would; made in a folder."""
    monkeypatch.setattr("embhub_registry.storage.database_place.choose", lambda folder, asked: asked)
    folder.create(tmp_path / "r", name="T", url=URL, audit="optional").close()
    made: list[Registry] = []

    def open_() -> Registry:
        made.append(open_folder(tmp_path / "r"))
        return made[-1]

    yield open_
    for registry in made:
        registry.close()


def add(registry: Registry, name: str) -> None:
    administration.add_user(registry, name, namespace="radboud", role="publisher")


def users(registry: Registry) -> set[str]:
    return {str(row[0]) for row in accounts.list_users(registry.database.connection())}


def waits_for_its_turn(registry: Registry, name: str) -> tuple[threading.Thread, list[str]]:
    """A command that begins now, in a thread, and what became of it."""
    said: list[str] = []

    def run() -> None:
        try:
            add(registry, name)
            said.append("stored")
        except DatabaseBusyError as error:
            said.append(error.message)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, said


def test_a_command_that_waited_is_refused_by_the_file_that_was_left(
    opened: Open, postgresql: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    mover, late = opened(), opened()
    late.database.connection()
    waiting = []
    original = moving.to_server

    def to_server(*both: object) -> object:
        waiting.append(waits_for_its_turn(late, "bert"))
        time.sleep(0.2)
        return original(*both)  # type: ignore[arg-type]

    monkeypatch.setattr(moving, "to_server", to_server)
    operation.move(mover, postgresql.new_schema())
    thread, said = waiting[0]
    thread.join()
    assert len(said) == 1 and "was moved meanwhile" in said[0]
    with pytest.raises(DatabaseBusyError, match="was moved meanwhile"):  # in a thread without a connection yet
        late.close()
        late.database.connection()
    assert not (late.folder / "registry.db").exists(), "no empty file was made"
    assert "bert" not in users(opened())


def test_a_command_that_waited_is_refused_by_the_server_that_was_left(
    opened: Open, postgresql: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the server ends transactions that are idle sooner than the copy is written."""
    first = opened()
    operation.move(first, postgresql.new_schema())
    mover, late = opened(), opened()
    late.database.connection().execute("SELECT 1")
    settle, dump = PostgresqlDatabase._settle, PostgresqlDatabase.dump
    waiting = []

    def impatient(self: PostgresqlDatabase, raw: psycopg.Connection[object]) -> None:
        settle(self, raw)
        raw.execute("SET idle_in_transaction_session_timeout = '200ms'")

    def slow(self: PostgresqlDatabase, path: Path) -> object:
        done = dump(self, path)
        waiting.append(waits_for_its_turn(late, "carl"))
        time.sleep(0.5)
        assert database_place.noted(mover.folder), "the note is changed once the server refuses writers"
        return done

    mover.database.close()
    monkeypatch.setattr(PostgresqlDatabase, "_settle", impatient)
    monkeypatch.setattr(PostgresqlDatabase, "dump", slow)
    operation.move(mover, "sqlite")
    thread, said = waiting[0]
    thread.join()
    assert len(said) == 1 and "was moved meanwhile" in said[0]
    assert isinstance(mover.database, PostgresqlDatabase) and "carl" not in users(late)
    here = opened()
    assert not isinstance(here.database, PostgresqlDatabase) and "carl" not in users(here)


def test_the_log_of_an_earlier_file_is_not_replayed_over_the_new_one(opened: Open, postgresql: Server) -> None:
    """One is left where a process that still reads keeps it in use, and where one was killed."""
    add(opened(), "anna")
    mover, reader = opened(), opened()
    reading = reader.database.connection()
    reading.execute("BEGIN")
    reading.execute("SELECT count(*) FROM user").fetchone()
    add(mover, "bert")
    reader_of_log = mover.folder / "registry.db-wal"
    assert reader_of_log.stat().st_size
    mover.database._patience = 0.1  # type: ignore[attr-defined]
    mover.database.connection().execute("PRAGMA busy_timeout = 100")
    left = reader_of_log.read_bytes()
    result = operation.move(mover, postgresql.new_schema())
    assert result["kept"] == ["registry.db.moved", "registry.db.moved-wal", "blobs.moved"]
    with sqlite3.connect(mover.folder / "registry.db.moved") as kept:
        assert kept.execute("SELECT count(*) FROM user WHERE name = 'bert'").fetchone() == (1,)
    kept.close()
    there = opened()
    for number in range(5):
        administration.add_user(there, f"u{number}", namespace=f"n{number}", role="publisher")
    names = users(there)
    reader_of_log.write_bytes(left)
    assert operation.move(there, "sqlite")["kept"] == []
    here = opened()
    assert users(here) == names and here.database.problems() == []
    reading.execute("ROLLBACK")


def test_a_schema_that_an_earlier_move_left_says_how_to_go_on(opened: Open, postgresql: Server) -> None:
    address = postgresql.new_schema()
    operation.move(opened(), address)
    operation.move(opened(), "sqlite")
    with pytest.raises(UsageError) as refused:
        operation.move(opened(), address)
    assert f"was left by `storage move` on {stamp()[:10]}: nothing was changed" in refused.value.message
    commands = re.fullmatch(
        "what is in it is not used any more: `(DROP SCHEMA .*;)`, then run this again", refused.value.hint
    )
    assert commands is not None, refused.value.hint
    with postgresql.connect() as db:
        db.execute(commands[1])
    assert operation.move(opened(), address)["rows"] > 0
    assert isinstance(opened().database, PostgresqlDatabase)


def test_a_row_of_every_table_goes_to_a_server_and_back(tmp_path: Path, postgresql: Server) -> None:
    """Whatever kinds of value the columns hold."""
    source, target = SqliteDatabase(tmp_path / "x.db"), Database(postgresql.new_schema())
    assert isinstance(target, PostgresqlDatabase)
    try:
        schema.migrate(source)
        with source.writing() as db:
            every_table.fill(db)
        sent = moving.to_server(source, target)
        assert min(content.rows for content in sent.values()) > 0, sent
        assert target.dump(tmp_path / "back.db") == sent
        with reading_copy(tmp_path / "back.db") as back:
            for table in every_table.tables_of(back):
                rows = [sorted(map(tuple, db.execute(f"SELECT * FROM {table}")), key=repr)
                        for db in (source.connection(), back)]  # fmt: skip
                assert rows[0] == rows[1], table
    finally:
        source.close()
        target.close()


def filled(registry: Registry) -> dict[str, bytes]:
    """Files that a repository names, and one of a deleted repository that is kept; by digest."""
    named = [b"# Read me\n", bytes(range(256)) * 5000, b""]
    with registry.database.writing() as db:
        for data in named:
            db.execute("INSERT INTO blob VALUES (?, ?, ?)", (registry.blobs.put(data), len(data), git_oid(data)))
        tombstones.doom(db, [registry.blobs.put(b"kept")], repository="x/y", due="2999-01-01T00:00:00.000Z")
        tombstones.doom(db, [sha256(b"gone")], repository="x/y", due="2000-01-01T00:00:00.000Z")
    registry.blobs.put(b"an orphan stays behind")
    return {sha256(data): data for data in (*named, b"kept")}


def held(registry: Registry) -> dict[str, bytes]:
    return {digest: registry.blobs.read(digest) for digest in registry.blobs.stored()}


def test_files_go_to_a_server_and_back(opened: Open, postgresql: Server) -> None:
    registry = opened()
    files, place = filled(registry), registry.folder
    done = operation.move(registry, postgresql.new_schema())
    assert (done["files"], done["file_bytes"]) == (4, sum(map(len, files.values())))
    assert done["kept"] == ["registry.db.moved", "blobs.moved"] and not (place / "blobs").exists()
    there = opened()
    assert isinstance(there.blobs, DatabaseBlobs) and held(there) == files
    later = there.blobs.put(b"later")
    with there.database.writing() as db:
        db.execute("INSERT INTO blob VALUES (?, ?, ?)", (later, 5, "0" * 40))
    (place / "blobs/aa").mkdir(parents=True)  # an attempt that was stopped half-way left this
    (place / "blobs/aa" / ("aa" * 32)).write_bytes(b"half")
    assert operation.move(there, "sqlite")["files"] == 5
    here = opened()
    assert isinstance(here.blobs, FolderBlobs) and held(here) == files | {later: b"later"}


@pytest.mark.parametrize("to", ["server", "folder"])
def test_a_registry_that_lost_a_file_is_not_moved(opened: Open, postgresql: Server, to: str) -> None:
    registry, address = opened(), postgresql.new_schema()
    digest = min(filled(registry).keys() - {sha256(b"kept")})
    if to == "folder":
        operation.move(registry, address)
        registry = opened()
    stored_objects.write_over(registry.blobs, digest, b"other bytes")
    with pytest.raises(ConfigError, match=f"lost blob {digest}: nothing was moved"):
        operation.move(registry, address if to == "server" else "sqlite")
    again = opened()
    assert isinstance(again.blobs, FolderBlobs if to == "server" else DatabaseBlobs), "it is where it was"
    with postgresql.connect() as db:
        schema_name = address.rpartition("%3D")[2]
        found = db.execute("SELECT count(*) FROM pg_tables WHERE schemaname = %s", (schema_name,)).fetchone()
    assert found is not None and bool(found[0]) is (to == "folder"), "the target holds nothing"


def test_what_did_not_arrive_as_it_was_sent_is_not_moved(
    opened: Open, postgresql: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, put = opened(), file_contents.put
    filled(registry)
    monkeypatch.setattr(file_contents, "put", lambda db, digest, data: put(db, digest, data + b"x"))
    with pytest.raises(RegistryError, match="did not arrive as it was sent"):
        operation.move(registry, postgresql.new_schema())
    assert isinstance(opened().blobs, FolderBlobs)
