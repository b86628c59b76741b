"""A thread's connection to a PostgreSQL server, and its transactions."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from embhub_registry.database.connection import moved_meanwhile
from embhub_registry.database.dialects import POSTGRESQL, to_postgresql
from embhub_registry.database.engines.postgresql_errors import is_outdated, raise_translated, taken, unavailable
from embhub_registry.database.engines.postgresql_limits import REST_SECONDS, Reconnector

Raw = psycopg.Connection[Any]
LEFT = "SELECT to_regclass(quote_ident(current_schema()) || '.moved_away')"  # what `moving.mark_left` made


class PostgresqlConnection:
    """One thread's connection; opened when first used, and again when it was lost."""

    dialect = POSTGRESQL

    def __init__(self, connect: Callable[[], Raw], limit: float) -> None:
        self._connect = connect
        self._raw: Raw | None = None
        self._writing = False
        self._trace: Callable[[str], object] | None = None
        self.limit = limit
        self.due = 0.0
        self._rests = 0.0  # until when the event loop's thread asks nothing
        self.reconnector: Reconnector | None = None  # of the event loop's thread, which does not wait for a server

    @property
    def socket_number(self) -> int | None:
        """See `postgresql_limits.Limited`."""
        raw = self._raw
        return None if raw is None or raw.closed else raw.fileno()

    @property
    def in_transaction(self) -> bool:
        """See `connection.Connection`."""
        return self._raw is not None and self._raw.info.transaction_status in _OPEN

    @property
    def is_open(self) -> bool:
        """Whether it is connected to the server."""
        return self._raw is not None and not self._raw.closed

    def execute(
        self, statement: str, parameters: Sequence[Any] | Mapping[str, Any] = (), /, *, binary: bool = False
    ) -> psycopg.Cursor[Any]:
        """See `connection.Connection`; with `binary` values come as the server has them, and not as text."""
        if self._trace is not None:
            self._trace(statement)
        return self._tried(lambda raw: raw.execute(to_postgresql(statement), parameters or None, binary=binary))

    def executemany(self, statement: str, parameters: Iterable[Any], /) -> psycopg.Cursor[Any]:
        """See `connection.Connection`."""
        rows = list(parameters)
        if self._trace is not None:
            self._trace(statement)

        def run(raw: Raw) -> psycopg.Cursor[Any]:
            cursor = raw.cursor()
            cursor.executemany(to_postgresql(statement), rows)
            return cursor

        return self._tried(run)

    def set_trace_callback(self, callback: Callable[[str], object] | None, /) -> None:
        """See `connection.Connection`."""
        self._trace = callback

    def raw(self) -> Raw:
        """The driver's connection, for what the interface has no words for."""
        if self._raw is None or self._raw.closed:
            if self._writing:
                raise unavailable("the connection was lost within a transaction")
            self._raw = self._connect() if self.reconnector is None else self.reconnector.take()
        return self._raw

    def begin(self, patience: float, key: int, guard: str) -> None:
        """Start a transaction and wait until no other writer is left.

        What the server's operator chose as the usual isolation does not count: after the lock is taken, each statement
        has to see all that was committed before it.
        """
        text = (
            f"BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = {max(1, round(patience * 1000))};"
            f" SELECT pg_catalog.pg_advisory_xact_lock({key}); {LEFT}, {guard}"
        )
        try:
            cursor = self._tried(lambda raw: raw.execute(text, prepare=False))
            while cursor.nextset():
                pass
            left, may_write = cursor.fetchone() or (None, False)
            if left is not None:
                raise moved_meanwhile()
            if not may_write:
                raise taken()
        except BaseException:
            self.roll_back()
            raise
        self._writing = True

    def commit(self) -> None:
        """End it; where a statement failed and nobody said so, the server would forget everything without a word."""
        if not self.in_transaction or self.raw().info.transaction_status is TransactionStatus.INERROR:
            self.roll_back()
            raise unavailable("a statement of the transaction had failed")
        if self._trace is not None:
            self._trace("COMMIT")
        try:
            self._tried(lambda raw: raw.execute("COMMIT", prepare=False))
        finally:
            self._writing = False

    def roll_back(self) -> None:
        """Forget it; a connection that cannot do that is closed, which comes to the same."""
        self._writing = False
        if self._raw is None:
            return
        try:
            if self.in_transaction:
                self._raw.execute("ROLLBACK", prepare=False)
        except psycopg.Error:
            self.close()

    def close(self) -> None:
        """Close it; the next statement opens another."""
        raw, self._raw = self._raw, None
        if raw is not None:
            with suppress(psycopg.Error):
                raw.close()

    def _tried(self, work: Callable[[Raw], psycopg.Cursor[Any]]) -> psycopg.Cursor[Any]:
        again = not self.in_transaction and not self._writing
        try:
            return self._timed(work)
        except psycopg.Error as error:
            if not self._is_lost(error):
                raise_translated(error)
            self.close()
            if not again:
                raise_translated(error)
        try:
            return self._timed(work)
        except psycopg.Error as error:
            if self._is_lost(error):
                self.close()
            raise_translated(error)

    def _timed(self, work: Callable[[Raw], psycopg.Cursor[Any]]) -> psycopg.Cursor[Any]:
        """Run it within the limit; what the watchdog cut is not tried again, for it would wait as long."""
        if time.monotonic() < self._rests:
            raise unavailable(f"a statement took longer than {self.limit:g} seconds a moment ago")
        raw = self.raw()
        if not self.limit:
            return work(raw)
        due = self.due = time.monotonic() + self.limit
        try:
            return work(raw)
        except psycopg.Error as error:
            self.due = 0.0
            if not raw.closed or time.monotonic() < due:
                raise
            self.close()
            if self.reconnector is not None:
                self._rests = time.monotonic() + REST_SECONDS
            raise unavailable(f"a statement took longer than {self.limit:g} seconds, and was cut: {error}") from error
        finally:
            self.due = 0.0

    def _is_lost(self, error: psycopg.Error) -> bool:
        if self._raw is None or self._raw.closed or is_outdated(error):
            return True
        return (error.sqlstate or "").startswith(("57P", "25006"))

    def __del__(self) -> None:
        self.close()  # the thread has ended


_OPEN = (TransactionStatus.INTRANS, TransactionStatus.INERROR, TransactionStatus.ACTIVE)
