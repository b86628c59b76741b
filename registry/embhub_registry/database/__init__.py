"""Every line of SQL of the registry; nothing outside this package imports sqlite3 or psycopg."""

from embhub_registry.database.connection import (
    Connection,
    Database,
    DatabaseBusyError,
    DatabaseTakenError,
    DatabaseUnavailableError,
    InUseError,
    Leadership,
    Row,
    StorageFullError,
    is_server,
    one_moment,
)
from embhub_registry.database.engines.sqlite import DatabaseError, reading_copy

__all__ = [
    "Connection", "Database", "DatabaseBusyError", "DatabaseError", "DatabaseTakenError",
    "DatabaseUnavailableError", "InUseError", "Leadership", "Row", "StorageFullError", "is_server", "one_moment",
    "reading_copy",
]  # fmt: skip
