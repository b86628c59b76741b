"""PostgreSQL by psycopg 3: a connection a thread, one writer at a time, errors of server and network as ours.

A connection that is lost is opened anew at the next statement, but never within a transaction: what a block wrote
before is gone, so the block has to end.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import psycopg

from embhub.errors import ConfigError
from embhub_registry.database import schema
from embhub_registry.database.connection import Database, InUseError
from embhub_registry.database.dialects import POSTGRESQL
from embhub_registry.database.engines import moving, postgresql_limits, postgresql_problems, postgresql_values
from embhub_registry.database.engines.postgresql_address import parse_address, shown
from embhub_registry.database.engines.postgresql_connection import PostgresqlConnection
from embhub_registry.database.engines.postgresql_errors import raise_translated, taken, unavailable
from embhub_registry.database.engines.postgresql_limits import Reconnector, Watchdog
from embhub_registry.database.engines.postgresql_locks import ServingLock, SessionLeadership, channel, lock_key

OLDEST = 150_000  # the first version of the server that is tried here
_REST = 1.0  # seconds in which nobody tries again to reach a server that could not be reached
Raw = psycopg.Connection[Any]


class PostgresqlDatabase(Database):
    """A database on a server; `?options=-csearch_path%3DNAME` of the address chooses a schema in it."""

    dialect = POSTGRESQL

    def __init__(self, place: Path | str, *, patience: float = 10.0) -> None:
        self._asked = parse_address(str(place))
        self.name = shown(str(place))
        self._patience = patience
        self._local = threading.local()
        self._all: weakref.WeakSet[PostgresqlConnection] = weakref.WeakSet()
        self._guard = threading.Lock()
        self._rests = 0.0
        self._key: int | None = None
        self._schema = ""
        self._serving = ServingLock(self.connect, lambda: lock_key(self._schema, "alone"), schema.fence(POSTGRESQL))
        self.limit = 0.0  # seconds for a statement of a new connection
        self._idle_seconds = 120  # within a transaction, before the server ends it
        self._watchdog: Watchdog | None = None

    def connection(self) -> PostgresqlConnection:
        """See `Database`; it is opened at the first statement."""
        found: PostgresqlConnection | None = getattr(self._local, "connection", None)
        if found is None:
            found = self._local.connection = PostgresqlConnection(self.connect, self.limit)
            with self._guard:
                self._all.add(found)
        return found

    def connect(self) -> Raw:
        """A new connection.

        Raises:
            DatabaseUnavailableError: the server cannot be reached, or lets nobody in.
            ConfigError: it is too old, or its encoding is not UTF-8.
        """
        if time.monotonic() < self._rests:
            raise unavailable("it could not be reached a moment ago")
        try:
            with self.calls.timed("connect"):
                raw = psycopg.connect(
                    **self._asked, autocommit=True, cursor_factory=psycopg.RawCursor, row_factory=postgresql_values.rows
                )
        except psycopg.OperationalError as error:
            self.calls.failed("connect")
            self._rests = time.monotonic() + _REST
            raise unavailable(str(error)) from error
        try:
            postgresql_values.adapt(raw)
            raw.prepared_max = 256
            self._settle(raw)
        except psycopg.Error as error:  # it went away meanwhile
            raw.close()
            raise_translated(error)
        return raw

    def _settle(self, raw: Raw) -> None:
        if raw.info.server_version < OLDEST or raw.info.parameter_status("server_encoding") != "UTF8":
            raw.close()
            raise ConfigError(
                f"{self.name} cannot hold a registry: it takes PostgreSQL 15 or newer with the encoding UTF8",
                "choose another server, or create the database with ENCODING 'UTF8'",
            )
        raw.execute(f"SET lock_timeout = {round(self._patience * 1000)}")
        raw.execute(f"SET idle_in_transaction_session_timeout = '{self._idle_seconds}s'")
        if raw.execute("SHOW synchronous_commit").fetchone()[0] == "off":  # type: ignore[index]  # one row
            raw.execute("SET synchronous_commit = on")  # what is acknowledged survives a power loss
        if self._key is None:
            name = raw.execute("SELECT current_schema()").fetchone()[0]  # type: ignore[index]  # one row
            self._schema = str(name)
            self._key = lock_key(self._schema, "writing")

    @contextmanager
    def _transaction(self, patience: float | None) -> Iterator[PostgresqlConnection]:
        """Writers take turns by an advisory lock that ends with the transaction."""
        if self._serving.is_taken:
            raise taken()
        connection = self.connection()
        connection.raw()
        assert self._key is not None  # noqa: S101  # known since the first connection
        connection.begin(self._patience if patience is None else patience, self._key, self._serving.guard())
        try:
            yield connection
            connection.commit()
        except BaseException:
            connection.roll_back()
            raise

    def translated(self) -> AbstractContextManager[None]:
        """Errors come translated already."""
        return nullcontext()

    def copy_to(self, path: Path) -> None:
        """See `Database`."""
        self.dump(path)

    def dump(self, path: Path) -> dict[str, moving.Content]:
        """`copy_to`, with what each table holds.

        Raises:
            RegistryError: what arrived is not what was sent.
        """
        raw = self.connect()
        try:
            raw.execute("SET idle_in_transaction_session_timeout = 0")  # what is read is written in between
            raw.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            return moving.dump(raw, path)
        except psycopg.Error as error:
            raise_translated(error)
        finally:
            with suppress(psycopg.Error):
                raw.close()

    def problems(self) -> list[str]:
        """Indexes and constraints that the server holds for invalid, and rows that cannot be read."""
        return postgresql_problems.find(self.connection())

    @contextmanager
    def alone(self, purpose: str, *, together: bool = False) -> Iterator[None]:
        """See `Database`: a lock of a connection of its own.

        Raises:
            InUseError: a process elsewhere holds it.
        """
        if not self._serving.take(shared=together):
            raise InUseError(
                f"the registry in {self.name} is in use by another process", f"stop it before you {purpose}"
            )
        try:
            yield
        finally:
            self._serving.release()

    def stay_alone(self) -> None:
        """See `Database`. While another process has it, nothing is written here."""
        self._serving.keep()

    def leadership(self, holder: str) -> SessionLeadership:
        """See `Database`."""
        return SessionLeadership(self.connect, self.writing, lambda: lock_key(self._schema, "sequencer"), holder)

    def wake_sequencer(self) -> None:
        """See `Database`."""
        name = channel(lock_key(self._schema, "sequencer"))
        self.connection().execute("SELECT pg_notify(?, '')", (name,))

    def limit_waits(self) -> None:
        """See `Database`."""
        self.limit, self._idle_seconds = postgresql_limits.SECONDS, postgresql_limits.IDLE_SECONDS
        own = self.connection()
        own.execute(f"SET idle_in_transaction_session_timeout = '{self._idle_seconds}s'")
        own.limit, own.reconnector = postgresql_limits.INLINE_SECONDS, Reconnector(self.connect)
        if self._watchdog is None:
            self._watchdog = Watchdog(self._opened)

    def _opened(self) -> list[PostgresqlConnection]:
        with self._guard:
            return list(self._all)

    def open_connections(self) -> int:
        """See `Database`."""
        with self._guard:
            return sum(connection.is_open for connection in self._all)

    def close(self) -> None:
        """See `Database`."""
        if self._watchdog is not None:
            self._watchdog.end()
        with self._guard:
            for connection in list(self._all):
                connection.close()
        self._local = threading.local()
