"""Time, on two clocks, of two arms that take turns; and the ratio between them with its spread.

Wall time is what a person waits; CPU time (all threads of this process) moves less on a busy machine. Arms alternate,
and change who goes first, so that a slow minute hits both. Ratios are taken turn by turn, then their median.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Spent:
    """Seconds of wall and of CPU time."""

    wall: float = 0.0
    cpu: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.wall + other.wall, self.cpu + other.cpu)

    def __truediv__(self, number: float) -> Spent:
        return Spent(self.wall / number, self.cpu / number)


class Watch:
    """A stopwatch on both clocks that can be paused; it starts stopped."""

    def __init__(self) -> None:
        self.spent = Spent()
        self._since: tuple[float, float] | None = None

    def start(self) -> None:
        """Go on counting."""
        self._since = (time.perf_counter(), time.process_time())

    def stop(self) -> Spent:
        """Stop counting; returns everything counted so far."""
        if self._since is not None:
            wall, cpu = self._since
            self.spent += Spent(time.perf_counter() - wall, time.process_time() - cpu)
            self._since = None
        return self.spent


@dataclass(frozen=True)
class Ratio:
    """How many times the peer's cost ours is: above 1, embhub needs less. `at_least` where the peer never arrived."""

    median: float
    low: float
    high: float
    at_least: bool = False

    def __str__(self) -> str:
        spread = f" ({_shorten(self.low)} to {_shorten(self.high)})" if self.low != self.high else ""
        return f"{'over ' if self.at_least else ''}{_shorten(self.median)}{spread}"


@dataclass(frozen=True)
class Compared:
    """Turns of two arms, in pairs."""

    ours: tuple[Spent, ...]
    peer: tuple[Spent, ...]

    @property
    def wall(self) -> Ratio:
        """The peer's wall time over ours."""
        return ratio([pair.wall for pair in self.peer], [pair.wall for pair in self.ours])

    @property
    def cpu(self) -> Ratio:
        """The peer's CPU time over ours."""
        return ratio([pair.cpu for pair in self.peer], [pair.cpu for pair in self.ours])


def ratio(peer: Sequence[float], ours: Sequence[float], *, at_least: bool = False) -> Ratio:
    """Median, least and largest of `peer` over `ours`, pair by pair."""
    ratios = [theirs / max(mine, 1e-12) for theirs, mine in zip(peer, ours, strict=True)]
    return Ratio(median(ratios), min(ratios), max(ratios), at_least)


def middle(turns: Sequence[Spent]) -> Spent:
    """The median of each clock."""
    return Spent(median(turn.wall for turn in turns), median(turn.cpu for turn in turns))


def compare(ours: Callable[[], Spent], peer: Callable[[], Spent], *, repeats: int, warm_up: bool = True) -> Compared:
    """Let both arms take `repeats` turns, each of which says what it spent; a first turn of each is thrown away."""
    if warm_up:
        ours()
        peer()
    turns: dict[str, list[Spent]] = {"ours": [], "peer": []}
    for turn in range(repeats):
        pair = [("ours", ours), ("peer", peer)]
        for name, arm in pair if turn % 2 == 0 else reversed(pair):
            turns[name].append(arm())
    return Compared(tuple(turns["ours"]), tuple(turns["peer"]))


def clocked(act: Callable[[], object], *, times: int = 1) -> Callable[[], Spent]:
    """An arm whose turn is `times` calls of `act`, and costs what one of them did."""

    def turn() -> Spent:
        watch = Watch()
        watch.start()
        for _ in range(times):
            act()
        return watch.stop() / times

    return turn


def _shorten(number: float) -> str:
    """Three digits or so, whatever the size."""
    return f"{number:.{0 if number >= 100 else 1 if number >= 10 else 2 if number >= 0.1 else 3}f}"
