"""How long a server process waits for its database: statements are cut off, and the event loop never connects itself.

A server that hangs keeps its connections open, so nothing but a clock ends a wait for it.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Protocol

import psycopg

from embhub.errors import EmbhubError
from embhub_registry.database.engines.postgresql_errors import unavailable

Raw = psycopg.Connection[Any]
INLINE_SECONDS = 2.0  # for a statement on the event loop's thread
SECONDS = 60.0  # for one of any other thread
IDLE_SECONDS = 10  # within a transaction, before the server ends it: its process was suspended, say
REST_SECONDS = 2.0  # after a statement there that was cut: others are refused at once, and the event loop has its turn
RECONNECT_SECONDS = 0.5  # that the event loop's thread waits for a new connection
_LOOK = 0.2


class Limited(Protocol):
    """A connection whose statements are watched."""

    due: float
    """When the statement that runs has to be done, by `time.monotonic`; 0 while none runs."""

    @property
    def socket_number(self) -> int | None:
        """The descriptor of its socket; None while it is closed."""
        ...


class Watchdog:
    """A thread that cuts connections whose statement takes too long: their callers get an error of a lost server."""

    def __init__(self, connections: Callable[[], Iterable[Limited]]) -> None:
        self._connections = connections
        self._ended = threading.Event()
        threading.Thread(target=self._watch, name="database-watchdog", daemon=True).start()

    def end(self) -> None:
        """Watch no more."""
        self._ended.set()

    def _watch(self) -> None:
        while not self._ended.wait(_LOOK):
            for connection in self._connections():
                due = connection.due
                if due and time.monotonic() > due:
                    _cut(connection, due)


def _cut(connection: Limited, due: float) -> None:
    """Shut the socket down, if the same statement still runs once the socket is held here."""
    with suppress(OSError, psycopg.Error):
        number = connection.socket_number
        if number is None:
            return
        with socket.socket(fileno=os.dup(number)) as held:
            if connection.due == due:
                held.shutdown(socket.SHUT_RDWR)


class Reconnector:
    """Connections for the event loop's thread, opened by another thread; the loop waits for a moment at most."""

    def __init__(self, connect: Callable[[], Raw]) -> None:
        self._connect = connect
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None
        self._made: Raw | None = None

    def take(self) -> Raw:
        """A new connection.

        Raises:
            DatabaseUnavailableError: there is none yet.
        """
        with self._guard:
            waits = self._thread is None
            if self._made is None and waits:
                self._thread = threading.Thread(target=self._open, name="database-reconnect", daemon=True)
                self._thread.start()
            thread = self._thread
        if thread is not None and waits:
            thread.join(RECONNECT_SECONDS)
        with self._guard:
            made, self._made = self._made, None
        if made is None:
            raise unavailable("a new connection is being opened")
        return made

    def _open(self) -> None:
        made = None
        try:
            with suppress(EmbhubError, psycopg.Error):
                made = self._connect()
        finally:
            with self._guard:
                self._thread = None
                self._made = made or self._made
