"""The order of labels: what an audit report publishes of scores whose labels are coins of the audit.

Only who came before whom: `m` for a coin that fell in and `n` for one that fell out, the most member-like first, ties
in parentheses. Every figure of a rank test, a ROC curve or a guessing game follows from that alone. Pure functions.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

_GROUPS = re.compile(r"[mn]|\((?=[mn]{2})m*n*\)")


class Ranks(NamedTuple):
    """Ranks from 0 of members and non-members, ascending; higher is more member-like, equal where they tie."""

    members: tuple[int, ...]
    nonmembers: tuple[int, ...]


def write(members: Sequence[float], nonmembers: Sequence[float]) -> str:
    """The order of the labels of these scores, higher scores first."""
    return "".join(_spell(*counts) for counts in _groups(members, nonmembers))


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
