"""Upgrades from every earlier schema, of both engines: each table had rows, and they are right afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from embhub_registry.database import Connection, Database, schema
from embhub_registry.database.dialects import POSTGRESQL, SQLITE, Dialect
from embhub_registry.database.wording import BETWEEN, joined_labels, letter_pairs
from tests.support import every_table
from tests.support.quick import others_thorough

NEWEST = schema.known_steps()[-1].number
EARLIER = [(dialect, step.number) for dialect in (SQLITE, POSTGRESQL) for step in schema.known_steps(dialect)[:-1]]
QUICK = [(SQLITE, 1), (SQLITE, 2), (SQLITE, 10), (SQLITE, NEWEST - 1), (POSTGRESQL, 12), (POSTGRESQL, NEWEST - 1)]
DERIVED = {"label_count", "letter_block"}  # of other tables' rows, by triggers and by the programs
BESIDE_WORDS = ("labels", "shown")  # so are these columns of `wording`


@pytest.fixture
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty one of the engine that the test's `dialect` says."""
    dialect = request.getfixturevalue("dialect")
    place = tmp_path / "x.db" if dialect is SQLITE else request.getfixturevalue("postgresql").new_schema()
    made = Database(place)
    yield made
    made.close()


def upgrade_from(database: Database, number: int) -> None:
    steps = schema.known_steps(database.dialect)
    schema.migrate(database, [step for step in steps if step.number <= number])
    with database.writing() as db:
        every_table.fill(db, number)
    schema.migrate(database)


@pytest.mark.parametrize(
    ("dialect", "number"), others_thorough(EARLIER, kept=QUICK), ids=[f"{d.name}-{n:03d}" for d, n in EARLIER]
)
def test_every_row_is_right_after_an_upgrade(database: Database, dialect: Dialect, number: int) -> None:
    upgrade_from(database, number)
    db = database.connection()
    assert schema.pending(database) == [] and database.problems() == []
    for table in every_table.tables_of(db):
        if table not in DERIVED:
            columns = [
                name for name in every_table.columns_of(db, table) if name not in BESIDE_WORDS or table == "label"
            ]
            wanted = sorted_rows(every_table.expected(table, number, columns), columns)
            assert rows_of(db, table, columns) == wanted, table
    counts = db.execute("SELECT kind, value, shown FROM label_count WHERE shown > 0").fetchall()
    shown = db.execute("SELECT kind, value FROM label WHERE shown = 1").fetchall()
    assert {(row[0], row[1]): row[2] for row in counts} == Counter(tuple(row) for row in shown)
    for repository_id, joined, seen in db.execute("SELECT repository_id, labels, shown FROM wording").fetchall():
        rows = db.execute("SELECT kind, value, shown FROM label WHERE repository_id = ?", (repository_id,)).fetchall()
        assert joined == joined_labels((row[0], row[1]) for row in rows) and {row[2] for row in rows} == {seen}
    words = every_table.words_at(number)
    ((block, noted),) = db.execute("SELECT block, pairs FROM letter_block").fetchall()
    assert block == 0 and set(letter_pairs(" ".join(words.values())).split()) <= set(noted.split())
    for place, text in words.items():
        condition, values = db.dialect.matches([text[:5]])
        assert [row[0] for row in db.execute(db.dialect.words_at.format(condition), values)] == [place]


@pytest.mark.parametrize("dialect", [SQLITE, POSTGRESQL], ids=lambda dialect: dialect.name)
def test_an_upgraded_schema_is_a_new_one(database: Database, dialect: Dialect, tmp_path: Path) -> None:
    """Step by step there are the same tables, columns and indexes as in one that got all steps at once."""
    for number in range(NEWEST + 1):
        schema.migrate(database, [step for step in schema.known_steps(dialect) if step.number <= max(number, 12)])
    fresh = Database(tmp_path / "fresh.db")
    try:
        schema.migrate(fresh)
        here, there = ({t: every_table.columns_of(db, t) for t in every_table.tables_of(db)}
                       for db in (database.connection(), fresh.connection()))  # fmt: skip
        assert here == there
    finally:
        fresh.close()


@pytest.mark.parametrize("dialect", [SQLITE, POSTGRESQL], ids=lambda dialect: dialect.name)
def test_no_table_is_left_out(database: Database, dialect: Dialect) -> None:
    """A step that makes a table needs a row of it in `every_table`, or the next upgrade would not be tried with one."""
    schema.migrate(database)
    with database.writing() as db:
        every_table.fill(db, NEWEST)
        empty = {table for table in every_table.tables_of(db)
                 if not db.execute(f'SELECT 1 FROM "{table}" LIMIT 1').fetchall()}  # fmt: skip
    assert empty == set()


def rows_of(db: Connection, table: str, columns: list[str]) -> list[tuple[Any, ...]]:
    """A table's rows in an order of their own; of the settings not which steps are rolling."""
    found = [tuple(row) for row in db.execute(f"SELECT {', '.join(columns)} FROM {table}").fetchall()]
    if table == "setting":
        found = [row for row in found if not row[0].startswith(schema.MAY_STAY)]
    return sorted_rows(found, columns)


def sorted_rows(found: list[tuple[Any, ...]], columns: list[str]) -> list[tuple[Any, ...]]:
    """Facets in one order, too: a step writes them as its index gives them."""
    if "facets" in columns:
        at = columns.index("facets")
        found = [(*row[:at], BETWEEN.join(sorted(row[at].split(BETWEEN))), *row[at + 1 :]) for row in found]
    return sorted(found, key=repr)
