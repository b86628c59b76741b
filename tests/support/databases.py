"""Databases of tests: looked into beside a server, and made for themselves, in whichever engine was chosen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embhub_registry.database import Connection, Database
from embhub_registry.database.dialects import SQLITE
from embhub_registry.storage import database_place


@contextmanager
def looking_into(folder: Path) -> Iterator[Connection]:
    """A connection of its own to the database of a registry's folder."""
    database = Database(database_place.find(folder))
    try:
        yield database.connection()
    finally:
        database.close()


def count_rows(folder: Path) -> dict[str, int]:
    """The rows of every table."""
    with looking_into(folder) as db:
        tables = (
            "SELECT name FROM sqlite_schema WHERE type = 'table'"
            if db.dialect is SQLITE
            else "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
        )
        names = [row[0] for row in db.execute(tables).fetchall()]
        return {name: db.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in names}


def new_database(path: Path) -> Database:
    """An empty database: the file at `path`, or a schema of the chosen server."""
    address = database_place.choose(path.parent, None)
    return Database(address or path)
