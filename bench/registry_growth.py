"""How search grows with the number of cards, on both engines: `python -m bench.registry_growth`.

The first cards are placed by the registry's own code (`bench.registry_search.fill`). More are copies of these with
other names, ids and places, which SQL makes: words, labels and facets stay as frequent as they were. Indexes and counts
are the registry's. PostgreSQL is Debian's, in a temporary folder, with its usual memory of 128 MB. Times are the
clock's, of a thread that asks one query after the other, over a Unix socket in the case of PostgreSQL. `--write` puts
the table into docs/explanation/registry-capacity.md.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from bench import machine, marked, registry_search
from bench.registry_search import Measured
from embhub_registry.database import Connection, Database, placement, schema, sqlite
from embhub_registry.database.dialects import SQLITE
from tests.support import postgres

PAGE = Path(__file__).parents[1] / "docs/explanation/registry-capacity.md"
FIRST = 10_000
GOAL = 0.005  # seconds, p50
_WORDS = "wording_found"
_LETTERS = "SELECT position / 64, letter_pairs({}(words, ' ')) FROM wording GROUP BY position / 64"
MEMORY = {"shared_buffers": "128MB", "max_wal_size": "2GB", "maintenance_work_mem": "256MB"}


def multiply(database: Database, times: int) -> None:
    """Make it that many times as many repositories, in lists and searches, too."""
    if database.dialect is SQLITE:
        database.connection().execute("PRAGMA cache_size = -4000000")  # KiB; back to the registry's own below
    with database.writing() as db, _without_triggers(db):
        last = db.execute("SELECT max(id) AS id, max(position) AS position FROM repository").fetchone()
        for number in range(1, times):
            shifts = {
                "id": f"id + {number * last['id']}", "repository_id": f"repository_id + {number * last['id']}",
                "position": f"position + {number * last['position']}", "name": f"name || '-{last['id']}-{number}'",
            }  # fmt: skip
            for table in ("repository", "wording", "label"):
                _copy(db, table, shifts, up_to=last["id"])
        db.execute(f"UPDATE label_count SET shown = shown * {int(times)}")
        db.execute("DELETE FROM letter_block")
        db.execute(
            f"INSERT INTO letter_block {_LETTERS.format('group_concat' if db.dialect is SQLITE else 'string_agg')}"
        )
        if db.dialect is SQLITE:
            placement.index_words(db)
    if database.dialect is SQLITE:
        database.connection().execute(f"PRAGMA cache_size = -{sqlite.CACHE_KIB}")
    _settle(database)


def _settle(database: Database) -> None:
    """Do what autovacuum would do within a minute: without statistics the planner guesses."""
    if database.dialect is not SQLITE:
        database.connection().execute("VACUUM ANALYZE")


def _copy(db: Connection, table: str, shifts: Mapping[str, str], *, up_to: int) -> None:
    columns = db.execute(f"SELECT * FROM {table} LIMIT 1").fetchone().keys()
    made = ", ".join(shifts.get(column, column) if column != "name" or table == "repository" else column
                     for column in columns)  # fmt: skip
    key = "id" if table == "repository" else "repository_id"
    db.execute(f"INSERT INTO {table} ({', '.join(columns)}) SELECT {made} FROM {table} WHERE {key} <= {up_to}")


@contextmanager
def _without_triggers(db: Connection) -> Iterator[None]:
    """Counts are multiplied at the end instead of counted row by row; PostgreSQL's index of words is made anew."""
    if db.dialect is SQLITE:
        triggers = db.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
        for trigger in triggers:
            db.execute(f"DROP TRIGGER {trigger['name']}")
        yield
        for trigger in triggers:
            db.execute(trigger["sql"])
        return
    index = "SELECT indexdef FROM pg_indexes WHERE schemaname = current_schema() AND indexname = ?"
    (made,) = db.execute(index, (_WORDS,)).fetchone()
    for table in ("repository", "label", "wording"):
        db.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL")
    db.execute(f"DROP INDEX {_WORDS}")
    yield
    db.execute(made)
    for table in ("repository", "label", "wording"):
        db.execute(f"ALTER TABLE {table} ENABLE TRIGGER ALL")


def grow(database: Database, sizes: Sequence[int], *, turns: int) -> dict[int, list[Measured]]:
    """What search takes at each of these sizes, each ten times the one before or so."""
    schema.migrate(database)
    found, now = {}, min(FIRST, sizes[0])
    registry_search.fill(database, now)
    _settle(database)
    for size in sizes:
        started = time.monotonic()
        if size > now:
            multiply(database, size // now)
            now *= size // now
        took = time.monotonic() - started
        found[now] = registry_search.measure(database.connection(), turns=turns)
        print(f"{database.dialect.name}: {now:,} cards, made in {took:.0f} s", flush=True)
        for row in found[now]:
            print(f"  {row.what}: p50 {row.p50 * 1000:.2f} ms, p95 {row.p95 * 1000:.2f} ms", flush=True)
    return found


def render(found: Mapping[str, Mapping[int, Sequence[Measured]]]) -> str:
    """A row a query, a column an engine and size: p50 in milliseconds, what misses the goal in bold.

    Behind them, of the largest size: what five queries of a hundred exceed, and the asking thread's processor time.
    """
    columns = [(engine, size) for engine, sizes in found.items() for size in sizes]
    largest = [(engine, max(sizes)) for engine, sizes in found.items()]
    heads = [f"{engine}, {size:,}" for engine, size in columns]
    heads += [f"p95, {engine}, {size:,}" for engine, size in largest]
    heads += [f"CPU, {engine}, {size:,}" for engine, size in largest]
    lines = ["| query | " + " | ".join(heads) + " |", "|---|" + "---:|" * len(heads)]
    names = [row.what for row in next(iter(next(iter(found.values())).values()))]
    for number, name in enumerate(names):
        cells = [_shown(found[engine][size][number].p50, goal=GOAL) for engine, size in columns]
        cells += [_shown(found[engine][size][number].p95) for engine, size in largest]
        cells += [_shown(found[engine][size][number].cpu) for engine, size in largest]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    met = [
        f"{engine}: {sum(row.p50 < GOAL for row in found[engine][size])} of {len(names)}" for engine, size in largest
    ]
    lines.append(f"\nUnder 5 ms at the largest size, by the median: {', '.join(met)}.")
    return "\n".join(lines)


def _shown(seconds: float, *, goal: float = math.inf) -> str:
    return f"{seconds * 1000:.2f}" if seconds < goal else f"**{seconds * 1000:.2f}**"


def write(table: str, *, turns: int, busy: str, day: date, page: Path = PAGE) -> None:
    """Put the table, and how it was measured, between the marks of the page."""
    said = (
        f"Measured on {day}, {turns} queries of each kind on each size, one after the other: medians by the clock in"
        f" milliseconds, the goal is {GOAL * 1000:.0f}. Busy before: {busy}."
    )
    page.write_text(marked.put(page.read_text(), f"{said}\n\n{table}", name="growth"))


def main() -> None:
    """Measure both engines, one after the other, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.registry_growth", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--turns", type=int, default=100)
    parser.add_argument("--engine", action="append", choices=("sqlite", "postgresql"))
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.name}")
    asked = parser.parse_args()
    if asked.write and asked.engine:
        parser.error("--write needs both engines: the table has both")
    busy, found = machine.describe()["busy before the run"], {}
    for engine in asked.engine or ("sqlite", "postgresql"):
        with _opened(engine) as database:
            found[engine] = grow(database, asked.sizes, turns=asked.turns)
    print(render(found))
    if asked.write:
        write(render(found), turns=asked.turns, busy=busy, day=date.today())


@contextmanager
def _opened(engine: str) -> Iterator[Database]:
    with tempfile.TemporaryDirectory() as folder:
        if engine == "sqlite":
            database = Database(Path(folder) / "registry.db")
            yield database
            database.close()
            return
        with postgres.running_server(**MEMORY) as server:
            database = Database(server.new_schema(), patience=600.0)
            yield database
            database.close()


if __name__ == "__main__":
    main()
