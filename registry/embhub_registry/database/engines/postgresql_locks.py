"""Locks of a PostgreSQL session: who serves a registry, alone or together, and who signs its log."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Any

import psycopg

from embhub.errors import EmbhubError
from embhub_registry.database.clock import stamp
from embhub_registry.database.connection import Connection, Leadership
from embhub_registry.database.engines.postgresql_errors import raise_translated, taken
from embhub_registry.database.logs import log_rows

Raw = psycopg.Connection[Any]
_IS_SHARED = "EXISTS (SELECT 1 FROM setting WHERE name = 'shared' AND value = 'yes')"  # as `storage share` wrote it
_KEEPALIVE = (  # the server finds out in 25 s that a machine is gone, not in two hours: until then it holds the lock
    "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3"
)
IDLE_SECONDS = 5  # without a word from a sequencer, after which the server ends its session, and so its lock


class ServingLock:
    """The lock of a server: held alone, or together with other servers."""

    def __init__(self, connect: Callable[[], Raw], key: Callable[[], int], fence: str) -> None:
        self.is_taken = False  # another process has what this one held
        self._fence = fence  # SQL: whether this program may write into the schema as it is now
        self._connect = connect
        self._key = key
        self._holder: Raw | None = None
        self._shared = False

    def take(self, *, shared: bool) -> bool:
        """Whether it was free."""
        self._shared = shared
        self._holder = self._lock()
        return self._holder is not None

    def keep(self) -> None:
        """Take it again where its connection was lost.

        Raises:
            DatabaseTakenError: another process has taken it meanwhile. Nothing is written until it is back.
        """
        if self._holder is None:
            return
        try:
            self._holder.execute("SELECT 1")
        except psycopg.Error:
            again = self._lock()
            self.is_taken = again is None
            if again is None:
                raise taken() from None
            self._holder = again

    def guard(self) -> str:
        """SQL for a transaction that writes: true where nobody is alone now, or was since the registry was shared.

        So a server whose connection was cut writes nothing before it notices, and an older program nothing into a
        schema that it does not know. Until the transaction ends, nobody can be alone.
        """
        if self._holder is None or not self._shared:
            return "true"
        return f"pg_try_advisory_xact_lock_shared({self._key()}) AND {_IS_SHARED} AND {self._fence}"

    def release(self) -> None:
        """Let others have it."""
        holder, self._holder, self.is_taken = self._holder, None, False
        if holder is not None:
            with suppress(psycopg.Error):
                holder.close()

    def _lock(self) -> Raw | None:
        raw = self._connect()
        function = "pg_try_advisory_lock_shared" if self._shared else "pg_try_advisory_lock"
        try:
            raw.execute(_KEEPALIVE, prepare=False)
            row = raw.execute(f"SELECT {function}($1)", (self._key(),)).fetchone()  # one of two constants
        except psycopg.Error as error:
            raw.close()
            raise_translated(error)
        if row is not None and row[0]:
            return raw
        raw.close()
        return None


class SessionLeadership(Leadership):
    """The right to sign the log: a session's advisory lock, whose holder begins a new term.

    The server ends the session of a holder from which it hears nothing for some seconds: a process that was suspended,
    or a network that drops everything. What such a holder signs afterwards is refused, because its term is over.
    """

    def __init__(
        self,
        connect: Callable[[], Raw],
        writing: Callable[[], AbstractContextManager[Connection]],
        key: Callable[[], int],
        holder: str,
    ) -> None:
        self._connect = connect
        self._writing = writing
        self._key = key
        self._holder = holder
        self._raw: Raw | None = None
        self._term: int | None = None
        self._is_over = False

    @property
    def term(self) -> int | None:
        """See `Leadership`."""
        return self._term

    def turn(self, seconds: float) -> None:
        """See `Leadership`."""
        try:
            raw = self._raw
            if raw is None or raw.closed or self._is_over:
                raw = self._open()
            if self._term is None:
                row = raw.execute("SELECT pg_try_advisory_lock($1)", (self._key(),)).fetchone()
                if row is not None and row[0]:
                    with self._writing() as db:
                        term = log_rows.next_term(db, self._holder, now=stamp())
                    self._term = term
                    return
            for _ in raw.notifies(timeout=seconds, stop_after=1):
                pass
            raw.execute("SELECT 1")
        except psycopg.Error as error:
            self.close()
            raise_translated(error)
        except (EmbhubError, OSError):
            self.close()
            raise

    def resign(self) -> None:
        """See `Leadership`."""
        self._term, self._is_over = None, True

    def close(self) -> None:
        """See `Leadership`."""
        raw, self._raw, self._term = self._raw, None, None
        if raw is not None:
            with suppress(psycopg.Error):
                raw.close()

    def _open(self) -> Raw:
        self.close()
        raw = self._connect()
        self._raw, self._is_over = raw, False
        raw.execute(f"SET idle_session_timeout = '{IDLE_SECONDS}s'")
        raw.execute(f'LISTEN "{channel(self._key())}"')
        return raw


def channel(key: int) -> str:
    """Where the sequencer of this registry is told that there is work."""
    return f"embhub_log_{key & 0xFFFF_FFFF_FFFF_FFFF:x}"


def lock_key(schema: str, purpose: str) -> int:
    """The number of an advisory lock: one for each registry of a database, and each purpose."""
    digest = hashlib.sha256(f"embhub-registry/{schema}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
