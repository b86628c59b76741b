"""How long calls of a database took, and how many failed: plain counters, read by `/metrics`."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


@dataclass
class Times:
    """One histogram.

    Attributes:
        counts: Calls in each bucket of `SECONDS`, and one for longer ones; not summed up.
        total: Seconds of all of them.
    """

    counts: list[int] = field(default_factory=lambda: [0] * (len(SECONDS) + 1))
    total: float = 0.0

    def add(self, seconds: float) -> None:
        """Count one call."""
        self.counts[bisect_left(SECONDS, seconds)] += 1
        self.total += seconds

    def cumulative(self) -> list[tuple[str, float]]:
        """Bounds and counts as Prometheus has them: each bucket holds those before it."""
        bounds = [*map(str, SECONDS), "+Inf"]
        return [(bound, float(sum(self.counts[: place + 1]))) for place, bound in enumerate(bounds)]


class CallTimes:
    """Calls by operation, failures by reason; both are constants of the code, never what somebody sent.

    Args:
        subject: What is called, in names of spans: `database`.
    """

    @staticmethod
    def no_span(name: str) -> AbstractContextManager[object]:
        """No trace is kept."""
        del name
        return nullcontext()

    span: Callable[[str], AbstractContextManager[object]] = no_span
    """Opens a span of a trace around a call; set where traces are exported."""

    def __init__(self, subject: str) -> None:
        self._subject = subject
        self._guard = threading.Lock()
        self.times: dict[str, Times] = {}
        self.errors: Counter[str] = Counter()

    @contextmanager
    def timed(self, operation: str) -> Iterator[None]:
        """Time the block, whether it ends well or not."""
        started = time.perf_counter()
        try:
            with CallTimes.span(f"{self._subject} {operation}"):
                yield
        finally:
            seconds = time.perf_counter() - started
            with self._guard:
                self.times.setdefault(operation, Times()).add(seconds)

    def failed(self, reason: str) -> None:
        """Count a failure of the engine, not of what was asked of it."""
        with self._guard:
            self.errors[reason] += 1
