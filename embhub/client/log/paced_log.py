"""A log that has to come at a pace: a registry that drips its files holds up a reading for ten minutes and no more.

One that sends just over 100,000 bytes a second is read to the end: 20 GB, the most that is read, take it 56 hours.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from embhub.client.wire import guard
from embhub.client.wire.deadline import within
from embhub.client.wire.errors import AnswerTooSlowError

FREE_SECONDS = 600.0  # for everything that a monitor asks for in one round, whatever comes
SLOWEST = 100_000  # bytes a second after that; a line of 1 Mbit/s brings more

Result = TypeVar("Result")


class Answering(Protocol):
    """A log over a network: see `http_log.HttpLog`."""

    def read(self, name: str, *, limit: int) -> bytes | None:
        """The file of this name below `/log`, or None where there is none."""
        ...

    def post(self, name: str, body: bytes) -> bytes:
        """Send something to `/log/NAME`."""
        ...


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
