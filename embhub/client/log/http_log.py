"""A registry's log over HTTP. It has to come at a pace: one that drips its files holds up a reading for ten minutes.

One that sends just over 100,000 bytes a second is read to the end: 20 GB, the most that is read, take it 56 hours.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from embhub.client.log.log_reader import NOT_IN_LOG, LogSource, NotInLogError
from embhub.client.wire import connecting, guard, http_client
from embhub.client.wire import errors as client_errors
from embhub.client.wire.deadline import within
from embhub.client.wire.errors import AnswerTooSlowError
from embhub.client.wire.http_client import StatusError
from embhub.log import notes

FREE_SECONDS = 600.0  # for everything that a monitor asks for in one round, whatever comes
SLOWEST = 100_000  # bytes a second after that; a line of 1 Mbit/s brings more

Result = TypeVar("Result")


class Answering(LogSource, Protocol):
    """A log over a network: see `HttpLog`."""

    def post(self, name: str, body: bytes) -> bytes:
        """Send something to `/log/NAME`."""
        ...


class HttpLog:
    """The log of the registry at an address."""

    def __init__(self, registry: str, token: str | None = None) -> None:
        self._registry = registry
        self._client = connecting.open_client(registry, token)

    def read(self, name: str, *, limit: int) -> bytes | None:
        """As `LogSource`. Raises RegistryError; NotInLogError where a running registry says so of an entry."""
        try:
            with http_client.in_words(self._registry):
                return self._client.read(f"/log/{name}", limit=limit)
        except StatusError as error:
            if error.status == 404 and error.code == NOT_IN_LOG:
                raise NotInLogError(name) from error
            if error.status == 404:
                return None
            raise client_errors.from_status(
                error.status, error.code, error.said, registry=self._registry, what="its log", anonymous=False
            ) from error

    def post(self, name: str, body: bytes) -> bytes:
        """Send something to `/log/NAME`. Raises RegistryError."""
        try:
            with http_client.in_words(self._registry):
                return self._client.read(f"/log/{name}", limit=notes.MAX_BYTES, method="POST", body=body)
        except StatusError as error:
            raise client_errors.from_status(
                error.status, error.code, error.said, registry=self._registry, what="its log", anonymous=False
            ) from error


class PacedLog:
    """One reading of a log, in so many seconds and one more for each 100,000 bytes that came.

    Args:
        source: the log.
        seconds: that everything may take which is read through this object; ten minutes for a monitor.
        now: a clock that never goes back, in seconds.
    """

    def __init__(
        self, source: Answering, *, seconds: float = FREE_SECONDS, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._source, self._seconds, self._now = source, seconds, now
        self._began, self._bytes = now(), 0

    def read(self, name: str, *, limit: int) -> bytes | None:
        """As `HttpLog.read`. Raises AnswerTooSlowError where the reading takes longer than it may."""
        data = self._in_time(lambda: self._source.read(name, limit=limit))
        self._bytes += len(data or b"")
        return data

    def post(self, name: str, body: bytes) -> bytes:
        """As `HttpLog.post`. Raises AnswerTooSlowError."""
        return self._in_time(lambda: self._source.post(name, body))

    def _in_time(self, call: Callable[[], Result]) -> Result:
        spent = self._now() - self._began
        left = self._seconds + self._bytes / SLOWEST - spent
        late = AnswerTooSlowError(
            f"the registry sent {self._bytes:,} bytes of its log in {spent:.0f} s and then too little",
            "try later; if it stays so, inform the registry's operator: nobody watches a log that cannot be read",
        )
        if left <= 0:
            raise late
        return within(min(left, guard.LONGEST_CALL), call, otherwise=late)
