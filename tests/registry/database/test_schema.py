"""Migrations: each step once, whole or not at all, whatever order their numbers arrived in; newer databases refused."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from embhub.errors import ConfigError
from embhub_registry.database import Database, schema
from embhub_registry.database.schema import Step, split_statements
from embhub_registry.operation import opening
from embhub_registry.storage import folder
from tests.support.databases import count_rows
from tests.support.servers import environment

START = Step(1, "001_start.sql", "CREATE TABLE parent (id INTEGER PRIMARY KEY);\nINSERT INTO parent VALUES (1);\n")
CHILD = Step(
    2,
    "002_child.sql",
    "CREATE TABLE child (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parent (id) ON DELETE CASCADE);\n"
    "INSERT INTO child VALUES (1, 1);\n",
)
MORE = Step(3, "003_more.sql", "ALTER TABLE parent ADD COLUMN name TEXT NOT NULL DEFAULT '';\n")
BROKEN = Step(4, "004_broken.sql", "CREATE TABLE half (x);\nINSERT INTO nowhere VALUES (1);\n")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(tmp_path / "x.db")
    yield made
    made.close()


def recorded(database: Database) -> list[str]:
    return [row[0] for row in database.connection().execute("SELECT name FROM migration ORDER BY number")]


def tables(database: Database) -> set[str]:
    return {row[0] for row in database.connection().execute("SELECT name FROM sqlite_schema")}


def test_each_step_is_applied_once_and_written_down(database: Database) -> None:
    assert schema.migrate(database, [START, CHILD]) is None, "nothing to copy before there is anything"
    assert recorded(database) == ["001_start.sql", "002_child.sql"]
    assert schema.pending(database, [START, CHILD]) == [] and schema.migrate(database, [START, CHILD]) is None


def test_a_lower_number_that_arrives_later_is_applied_too(database: Database) -> None:
    schema.migrate(database, [START, MORE])
    assert schema.pending(database, [START, CHILD, MORE]) == [CHILD]
    schema.migrate(database, [START, CHILD, MORE])
    assert recorded(database) == [START.name, CHILD.name, MORE.name]


def test_the_copy_is_the_database_as_it_was(database: Database) -> None:
    schema.migrate(database, [START])
    copy = schema.migrate(database, [START, CHILD, MORE])
    assert copy is not None and copy.name == "x.before-002.db" and stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert sorted(p.name for p in copy.parent.iterdir() if "before" in p.name) == [copy.name]
    before = Database(copy)
    assert recorded(before) == [START.name] and "child" not in tables(before) and before.problems() == []
    before.close()


@pytest.mark.parametrize("steps", [[START], [START, Step(2, "002_other.sql", "SELECT 1;")]], ids=["newer", "another"])
def test_what_another_release_wrote_is_refused(database: Database, steps: list[Step]) -> None:
    schema.migrate(database, [START, CHILD])
    with pytest.raises(ConfigError, match=r"another release.*002_child") as refused:
        schema.migrate(database, steps)
    assert "newer" in refused.value.hint and recorded(database) == [START.name, CHILD.name]


def test_tables_of_another_program_are_left_alone(database: Database) -> None:
    database.connection().execute("CREATE TABLE setting (name TEXT, value TEXT)")
    with pytest.raises(ConfigError, match="another program wrote it"):
        schema.migrate(database)
    assert tables(database) == {"setting"}


def test_a_step_that_fails_leaves_the_version_before_it(database: Database) -> None:
    schema.migrate(database, [START])
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        schema.migrate(database, [START, CHILD, BROKEN])
    assert recorded(database) == [START.name, CHILD.name] and "half" not in tables(database)
    assert database.connection().execute("PRAGMA foreign_keys").fetchone()[0] == 1


def test_a_rebuilt_table_takes_no_rows_with_it_and_no_reference_dangles(database: Database) -> None:
    rebuild = (
        "CREATE TABLE fresh (id INTEGER PRIMARY KEY, name TEXT);\nINSERT INTO fresh SELECT id, '' FROM parent;\n"
        "DROP TABLE parent;\nALTER TABLE fresh RENAME TO parent;\n"
    )
    schema.migrate(database, [START, CHILD, Step(3, "003_rebuild.sql", rebuild)])
    db = database.connection()
    assert db.execute("SELECT count(*) FROM child").fetchone()[0] == 1 and database.problems() == []
    with pytest.raises(ConfigError, match=r"004_lose\.sql would leave 1 rows"):
        schema.migrate(
            database,
            [START, CHILD, Step(3, "003_rebuild.sql", rebuild), Step(4, "004_lose.sql", "DELETE FROM parent;\n")],
        )
    assert db.execute("SELECT count(*) FROM parent").fetchone()[0] == 1


def test_a_migration_that_is_killed_leaves_the_old_version(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    database = Database(path)
    schema.migrate(database, [START])
    database.close()
    code = (
        "import sys, pathlib\nfrom embhub_registry.database import Database, schema\n"
        "from embhub_registry.database.schema import Step\n"
        f"start = Step(1, '001_start.sql', {START.script!r})\n"
        "slow = 'CREATE TABLE half (x);\\nWITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
        " WHERE i < 200000) INSERT INTO half SELECT hex(randomblob(500)) FROM n;\\n'\n"
        f"schema.migrate(Database(pathlib.Path({str(path)!r})), [start, Step(2, '002_slow.sql', slow)])\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], env=environment())
    wal = path.with_name("x.db-wal")
    while process.poll() is None and not (wal.exists() and wal.stat().st_size > 1_000_000):
        pass
    process.send_signal(signal.SIGKILL)
    assert process.wait(timeout=60) == -signal.SIGKILL, "it was in the middle"
    database = Database(path)
    assert recorded(database) == [START.name] and "half" not in tables(database) and database.problems() == []
    assert path.with_name("x.before-002.db").exists()
    schema.migrate(database, [START, CHILD])
    assert recorded(database) == [START.name, CHILD.name]
    database.close()


def test_a_server_keeps_a_migration_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serving = folder.create(tmp_path / "r", name="Test", url="http://127.0.0.1:1", audit="optional")
    later = Step(999, "999_later.sql", "CREATE TABLE later (x TEXT);\n")
    steps = [*schema.known_steps(serving.database.dialect), later]
    monkeypatch.setattr(schema, "known_steps", lambda dialect: steps)
    said: list[str] = []
    with serving.alone("serve"), pytest.raises(ConfigError, match=rf"in use by process {os.getpid()} \(serve\)"):
        opening.open_folder(tmp_path / "r", announce=said.append)
    assert said == ["schema 3 → 999: stops all servers: stop the others first (999_later.sql)"]
    assert "later" not in count_rows(serving.folder)
    opening.open_folder(tmp_path / "r").close()
    assert "later" in count_rows(serving.folder)
    log = [json.loads(line) for line in serving.audit_log.lines()]
    assert [row["steps"] for row in log if row["event"] == "migrated"] == [["999_later.sql"]]
    serving.close()


def test_statements_are_split_where_they_end() -> None:
    script = "-- a; comment\nCREATE TABLE a (x TEXT DEFAULT ';');\nCREATE TABLE b (y);\n"
    assert len(split_statements(script)) == 2
