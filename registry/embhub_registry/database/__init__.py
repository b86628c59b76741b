"""Every line of SQL of the registry; nothing outside this package imports sqlite3."""

from embhub_registry.database.connection import (
    Busy,
    Connection,
    Database,
    DatabaseError,
    Row,
    StorageFull,
    reading_copy,
)

__all__ = ["Busy", "Connection", "Database", "DatabaseError", "Row", "StorageFull", "reading_copy"]
