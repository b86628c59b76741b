"""Whose turn it is in a round of a mirror: what changed, those first that were looked at longest ago, for so long."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

TRUSTED_FOR = 3600.0  # seconds, after which also what seems unchanged is asked for: not all is in lists or the log


@dataclass
class Turns:
    """Repositories and digests of embeddings, of this process.

    Attributes:
        until: When the round is over, by `time.monotonic()`.
        late: How many the present round did not come to.
    """

    until: float = 0.0
    late: int = 0
    _seen: dict[str, float] = field(default_factory=dict)  # when each was looked at last
    _marks: dict[str, str] = field(default_factory=dict)  # and what was said of it then, where nothing was left to do

    @property
    def are_over(self) -> bool:
        """Whether the round is."""
        return time.monotonic() > self.until

    def of(self, found: Iterable[str]) -> Iterator[str]:
        """Those that were looked at longest ago first, one at least; what the round does not come to is counted."""
        for number, one in enumerate(sorted(found, key=lambda one: self._seen.get(one, 0.0))):
            if number and self.are_over:
                self.late += 1
            else:
                self._seen[one] = time.monotonic()
                yield one

    def is_unchanged(self, one: str, mark: str) -> bool:
        """Whether it was looked at within the hour, when the same was said of it."""
        return self._marks.get(one) == mark and time.monotonic() - self._seen.get(one, 0.0) < TRUSTED_FOR

    def finish(self, one: str, mark: str) -> None:
        """Nothing is left to do for it, while the same is said of it."""
        self._marks[one] = mark

    @contextmanager
    def of_one_round(self) -> Iterator[None]:
        """Forget what was finished in it where it fails: nothing that it took is held."""
        self.late, before = 0, dict(self._marks)
        try:
            yield
        except BaseException:
            self._marks = before
            raise
