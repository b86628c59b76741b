"""The order of labels: what an audit report publishes of its scores.

A score is a function of public files and one image, so it names the image to whoever holds it. The report therefore
keeps only who came before whom: `m` for a member and `n` for a non-member, the most member-like first, ties in
parentheses. Every figure of a rank test, a ROC curve or a guessing game follows from that alone.

Where a side is small, the order is coarse: counts in at most ten bins of about equal size. Pure functions.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

FEWEST = 50  # units a side from which on the order is published in full
BINS = 10
_BIN_SIZE = 5  # units that a bin holds on average, at the least
_GROUPS = re.compile(r"[mn]|\((?=[mn]{2})m*n*\)")

Bins = tuple[tuple[int, int], ...]


class Ranks(NamedTuple):
    """Ranks from 0 of members and non-members, ascending; higher is more member-like, equal where they tie."""

    members: tuple[int, ...]
    nonmembers: tuple[int, ...]


def write(members: Sequence[float], nonmembers: Sequence[float]) -> str:
    """The order of the labels of these scores, higher scores first."""
    return "".join(_spell(*counts) for counts in _groups(members, nonmembers))


def write_bins(members: Sequence[float], nonmembers: Sequence[float]) -> Bins:
    """(members, non-members) in each of at most ten bins, the most member-like bin first.

    A bin holds about a tenth of all units, at least five or so. Equal scores stay in one bin.
    """
    total = len(members) + len(nonmembers)
    number = max(1, min(BINS, total // _BIN_SIZE))
    edges = [total * (place + 1) / number for place in range(number)]
    bins: list[tuple[int, int]] = []
    inside = outside = seen = 0
    for more_inside, more_outside in _groups(members, nonmembers):
        inside, outside = inside + more_inside, outside + more_outside
        seen += more_inside + more_outside
        if seen >= edges[0] - 1e-9:
            bins.append((inside, outside))
            inside = outside = 0
            edges = [edge for edge in edges if edge > seen + 1e-9]
    return tuple(bins)


@lru_cache(maxsize=64)
def read(order: str) -> Ranks:
    """The ranks that an order of labels stands for.

    Raises:
        ValueError: it is not written as `write` does, or holds one label only.
    """
    groups, place = [], 0
    while place < len(order):
        found = _GROUPS.match(order, place)
        if found is None:
            raise ValueError("the order of labels is not of m, n and ties in parentheses")
        groups.append((found[0].count("m"), found[0].count("n")))
        place = found.end()
    return _rank(groups)


def read_bins(bins: Bins) -> Ranks:
    """The ranks that counts in bins stand for: all units of one bin tie.

    Raises:
        ValueError: a side is empty.
    """
    return _rank(bins)


def _rank(groups: Sequence[tuple[int, int]]) -> Ranks:
    last = len(groups) - 1
    members = [last - place for place, (inside, _) in enumerate(groups) for _ in range(inside)]
    nonmembers = [last - place for place, (_, outside) in enumerate(groups) for _ in range(outside)]
    if not members or not nonmembers:
        raise ValueError("the order of labels needs a member and a non-member")
    return Ranks(tuple(reversed(members)), tuple(reversed(nonmembers)))


def _groups(members: Sequence[float], nonmembers: Sequence[float]) -> Iterator[tuple[int, int]]:
    """How many members and non-members share each score, from the highest score down."""
    inside, outside = Counter(map(float, members)), Counter(map(float, nonmembers))
    scores = inside.keys() | outside.keys()
    if not all(map(math.isfinite, scores)):
        raise ValueError("scores must be finite numbers")
    for score in sorted(scores, reverse=True):
        yield inside[score], outside[score]


def _spell(inside: int, outside: int) -> str:
    text = "m" * inside + "n" * outside
    return text if len(text) == 1 else f"({text})"
