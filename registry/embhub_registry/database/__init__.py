"""Every line of SQL of the registry; nothing outside this package imports sqlite3."""

from embhub_registry.database.connection import (
    Connection,
    Database,
    DatabaseBusyError,
    DatabaseError,
    Row,
    StorageFullError,
    reading_copy,
)

__all__ = ["Connection", "Database", "DatabaseBusyError", "DatabaseError", "Row", "StorageFullError", "reading_copy"]
