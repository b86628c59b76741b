"""The schema's history: numbered SQL files, each applied once, in one transaction, and written down.

A step counts as known by its number and name, not by being the highest: one that arrives later with a lower number is
applied too. Both engines have the same steps.

The first line of a step declares what its author decided, the same for both engines, and why. Without it a step stops.

- `-- rolling:` it may be applied while servers of a shared registry run: programs that do not know it may go on beside
  it. It adds tables, indexes, or columns that have a default, and nothing that an older program would have to obey;
  what that program does not write there, a trigger does. The setting `schema.rolling.NAME` says so to them.
- `-- stops:` it keeps them out, and waits until no server runs.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata, resources
from pathlib import Path

from embhub.errors import ConfigError
from embhub_registry.database.clock import stamp
from embhub_registry.database.connection import Connection, Database
from embhub_registry.database.dialects import SQLITE, Dialect

_RECORD = (
    "CREATE TABLE IF NOT EXISTS migration (number INTEGER PRIMARY KEY, name TEXT NOT NULL, applied TEXT NOT NULL,"
    " program TEXT NOT NULL)"
)
_ROLLING, _STOPS = "-- rolling:", "-- stops:"
MAY_STAY = "schema.rolling."  # and a step's name: the setting that lets programs go on which do not know the step


@dataclass(frozen=True)
class Step:
    """One file of `migrations/`: `001_start.sql` has number 1."""

    number: int
    name: str
    script: str

    @property
    def is_rolling(self) -> bool:
        """Whether programs that do not know it may go on beside it."""
        return self.script.startswith(_ROLLING)

    @property
    def is_declared(self) -> bool:
        """Whether its first line says one of the two, and why."""
        first = self.script.partition("\n")[0]
        return any(first.startswith(word) and first.removeprefix(word).strip() for word in (_ROLLING, _STOPS))


def known_steps(dialect: Dialect = SQLITE) -> list[Step]:
    """This program's steps by number."""
    folder = resources.files("embhub_registry.database").joinpath("migrations")
    if dialect is not SQLITE:
        folder = folder.joinpath(dialect.name)
    files = [file for file in folder.iterdir() if file.name.endswith(".sql")]
    steps = [Step(int(file.name.partition("_")[0]), file.name, file.read_text(encoding="utf-8")) for file in files]
    return sorted(steps, key=lambda step: step.number)


def pending(database: Database, steps: Sequence[Step] | None = None) -> list[Step]:
    """The steps that this database still lacks, in order. Nothing is locked and nothing is written.

    Raises:
        ConfigError: the database has been through a step that this program does not know, and has to; or another
            program made it.
    """
    known = known_steps(database.dialect) if steps is None else list(steps)
    db = database.connection()
    applied = _applied(db)
    if not applied and db.execute(db.dialect.has_table, ("setting",)).fetchone():
        raise ConfigError(
            f"{database.name} has tables, and no record of the steps that made them: another program wrote it",
            "name another database; of this one nothing was changed",
        )
    names = {step.number: step.name for step in known}
    foreign = sorted(
        name
        for number, name in applied.items()
        if names.get(number) != name and (number in names or not _may_stay(db, name))
    )
    if foreign:
        raise ConfigError(
            f"{database.name} was written by another release: it has been through {foreign[-1]},"
            f" this program knows {known[-1].name} and what is before it",
            "use that release or a newer one; to go back, restore a backup that this release made",
        )
    return [step for step in known if step.number not in applied]


def plan(lacking: Sequence[Step], database: Database) -> str:
    """What it means to apply steps, for the operator: `schema 3 → 5: rolls, …`."""
    before, after = max(_applied(database.connection()), default=0), lacking[-1].number
    stopping = [step.name for step in lacking if not step.is_rolling]
    if stopping:
        return f"schema {before} → {after}: stops all servers: stop the others first ({', '.join(stopping)})"
    return f"schema {before} → {after}: rolls: servers of the release before may go on meanwhile"


def fence(dialect: Dialect) -> str:
    """SQL that is true while this program knows every step, or may go on beside those that it does not know."""
    known = ", ".join(f"'{name}'" for name in sorted({step.name for step in known_steps(dialect)}))
    return (
        f"NOT EXISTS (SELECT 1 FROM migration AS step WHERE step.name NOT IN ({known}) AND NOT EXISTS"  # noqa: S608  # names of our own files
        f" (SELECT 1 FROM setting WHERE setting.name = '{MAY_STAY}' || step.name))"
    )


def is_empty(database: Database) -> bool:
    """Whether no step was ever applied."""
    return not _applied(database.connection())


def migrate(database: Database, steps: Sequence[Step] | None = None) -> Path | None:
    """Apply what is pending; returns the copy of the file that was made before, None where none was needed.

    Each step is one transaction, which no other writer shares: killed at any moment, the database is as before that
    step or after it, and the next call goes on from there. An empty database gets all steps in one transaction. The
    caller keeps servers out. Of a database on a server no copy is made: its own tools make one.

    Raises:
        ConfigError: the database is of another release, or a step leaves references without their target.
        StorageFullError, DatabaseBusyError: this step was not applied.
    """
    lacking = pending(database, steps)
    if not lacking:
        return None
    db = database.connection()
    copy = None
    applied = _applied(db)
    if applied and db.dialect is SQLITE:
        copy = database.path.with_name(f"{database.path.stem}.before-{lacking[0].number:03d}{database.path.suffix}")
        database.copy_to(copy)
    _check_references(db, on=False)  # a table that is rebuilt loses its rows to no cascade; checked below
    try:
        if not applied:
            _apply(database, lacking)
        else:
            for step in lacking:
                _apply(database, [step])
    finally:
        _check_references(db, on=True)
    return copy


def build(db: Connection) -> None:
    """Every step on an empty database, within the caller's transaction."""
    for step in known_steps(db.dialect):
        _run(db, step)


def _apply(database: Database, steps: Sequence[Step]) -> None:
    with database.writing() as db:
        for step in steps:
            if step.number in _applied(db):
                continue  # another process was faster
            broken = _run(db, step)
            if broken:
                raise ConfigError(
                    f"{step.name} would leave {broken} rows of {database.name} without what they refer to",
                    "nothing was changed; run `check` with the release that wrote this database",
                )


def _run(db: Connection, step: Step) -> int:
    """Apply a step and note it; returns how many rows lack what they refer to, which PostgreSQL would not let pass."""
    for statement in split_statements(step.script) if db.dialect is SQLITE else [step.script]:
        db.execute(statement)
    db.execute(_RECORD + db.dialect.strict)
    db.execute("INSERT INTO migration VALUES (?, ?, ?, ?)", (step.number, step.name, stamp(), _program()))
    if db.dialect is not SQLITE:
        if step.is_rolling:
            db.execute("INSERT INTO setting VALUES (?, 'yes') ON CONFLICT DO NOTHING", (MAY_STAY + step.name,))
        return 0
    return len(db.execute("PRAGMA foreign_key_check").fetchall())


@cache
def _program() -> str:
    """This program's version, looked up once: each look-up reads the distribution's whole description."""
    return metadata.version("embhub")


def _check_references(db: Connection, *, on: bool) -> None:
    if db.dialect is SQLITE:
        db.execute(f"PRAGMA foreign_keys = {'ON' if on else 'OFF'}")


def _may_stay(db: Connection, name: str) -> bool:
    """Whether a step that this program does not know lets it go on; in SQLite one process works, and none does."""
    if db.dialect is SQLITE:
        return False
    return db.execute("SELECT 1 FROM setting WHERE name = ?", (MAY_STAY + name,)).fetchone() is not None


def _applied(db: Connection) -> dict[int, str]:
    """Number and name of each step that this database has been through."""
    if not db.execute(db.dialect.has_table, ("migration",)).fetchone():
        return {}
    return {row["number"]: row["name"] for row in db.execute("SELECT number, name FROM migration ORDER BY number")}


def split_statements(script: str) -> list[str]:
    """The statements of a migration: `executescript` would commit the transaction that surrounds them."""
    statements, buffer = [], ""
    for line in script.splitlines(keepends=True):
        buffer += line
        if sqlite3.complete_statement(buffer):
            statements.append(buffer)
            buffer = ""
    if buffer.strip():
        statements.append(buffer)
    return statements
