"""The one schema of both engines, and what a step after it leaves alone: every row of every table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from embhub_registry.database import Connection, Database, schema
from embhub_registry.database.dialects import POSTGRESQL, SQLITE, Dialect
from embhub_registry.database.schema import Step
from tests.support import every_table

NEXT = Step(
    998,
    "998_next.sql",
    "ALTER TABLE repository ADD COLUMN later TEXT NOT NULL DEFAULT 'x';\nCREATE TABLE later (x TEXT);\n",
)
BROKEN = Step(999, "999_broken.sql", "DELETE FROM attestation;\nINSERT INTO nowhere VALUES (1);\n")
ENGINES = pytest.mark.parametrize("dialect", [SQLITE, POSTGRESQL], ids=lambda dialect: dialect.name)


@pytest.fixture
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """One of the engine that the test's `dialect` says, with rows in every table."""
    dialect = request.getfixturevalue("dialect")
    place = tmp_path / "x.db" if dialect is SQLITE else request.getfixturevalue("postgresql").new_schema()
    made = Database(place)
    schema.migrate(made)
    with made.writing() as db:
        every_table.fill(db)
    yield made
    made.close()


@ENGINES
def test_a_step_leaves_every_row_as_it_was(database: Database, dialect: Dialect) -> None:
    steps = [*schema.known_steps(dialect), NEXT]
    before = rows_of(database.connection())
    schema.migrate(database, steps)
    after = rows_of(database.connection())
    assert after.pop("later") == []
    after["repository"] = [row[:-1] for row in after["repository"] if row[-1] == "x"]
    assert after == before and schema.pending(database, steps) == [] and database.problems() == []


@ENGINES
def test_a_step_that_fails_changes_no_row(database: Database, dialect: Dialect) -> None:
    steps = [*schema.known_steps(dialect), NEXT, BROKEN]
    schema.migrate(database, steps[:-1])
    before = rows_of(database.connection())
    with pytest.raises(Exception, match="nowhere"):
        schema.migrate(database, steps)
    assert rows_of(database.connection()) == before and schema.pending(database, steps) == [BROKEN]


@ENGINES
def test_no_table_is_left_out(database: Database, dialect: Dialect) -> None:
    """A table needs a row in `every_table`, or neither an upgrade nor `storage move` would be tried with one."""
    assert [table for table, rows in rows_of(database.connection()).items() if not rows] == []


@ENGINES
def test_what_triggers_keep_agrees_with_its_rows(database: Database, dialect: Dialect) -> None:
    db = database.connection()
    counts = db.execute("SELECT kind, value, shown FROM label_count WHERE shown > 0").fetchall()
    shown = db.execute("SELECT kind, value FROM label WHERE shown = 1").fetchall()
    assert {(row[0], row[1]): row[2] for row in counts} == Counter(tuple(row) for row in shown) != {}


def test_both_engines_have_the_same_tables_and_columns(tmp_path: Path, postgresql: Any) -> None:
    found = []
    for place in (tmp_path / "x.db", postgresql.new_schema()):
        made = Database(place)
        schema.migrate(made)
        db = made.connection()
        found.append({table: every_table.columns_of(db, table) for table in every_table.tables_of(db)})
        made.close()
    assert found[0] == found[1]


def rows_of(db: Connection) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of every table, in an order of their own."""
    return {
        table: sorted((tuple(row) for row in db.execute(f'SELECT * FROM "{table}"').fetchall()), key=repr)
        for table in every_table.tables_of(db)
    }
