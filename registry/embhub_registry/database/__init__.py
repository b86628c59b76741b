"""Every line of SQL of the registry; nothing outside this package imports sqlite3."""

from embhub_registry.database.connection import Busy, Connection, Database, Row, StorageFull

__all__ = ["Busy", "Connection", "Database", "Row", "StorageFull"]
