"""What a PostgreSQL server itself finds wrong with a registry's tables."""

from __future__ import annotations

import psycopg

from embhub_registry.database.connection import Connection

_HERE = "relnamespace = CAST(current_schema() AS regnamespace)"
_TABLES = (
    "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() AND tablename <> 'file_content' ORDER BY 1"
)
"""All but the bytes of files, each of which `check` compares with its digest."""
_INVALID_INDEXES = (
    f"SELECT relname FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid WHERE NOT indisvalid AND {_HERE}"  # noqa: S608  # constants
)
_UNCHECKED = (
    f"SELECT conname FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid WHERE NOT convalidated AND {_HERE}"  # noqa: S608  # constants
)


def find(db: Connection) -> list[str]:
    """Indexes and constraints that the server holds for invalid, and rows that cannot be read."""
    found = [f"index {row[0]} is invalid: REINDEX it" for row in db.execute(_INVALID_INDEXES)]
    found += [f"constraint {row[0]} was never checked: VALIDATE it" for row in db.execute(_UNCHECKED)]
    for (table,) in db.execute(_TABLES):
        try:
            db.execute(f'SELECT count(CAST(read.* AS TEXT)) FROM "{table}" AS read')  # noqa: S608  # the catalogue's own name
        except psycopg.Error as error:
            found.append(f"database: {table}: {error}")
    return found
