"""True-positive rates at a low false-positive rate, with limits that hold though the threshold is estimated too.

The threshold of a false-positive rate is not known: it is read off the non-members, and a share that is counted at it
errs with it. The limits here take one order statistic of the non-members whose true false-positive rate is below the
wanted one, another whose is above, each with the confidence that is left beside the exact limit of the share of members
(David and Nagaraja 2003, Order Statistics, section 7.1; Clopper and Pearson 1934). They hold for every distribution of
scores, by the union bound, and rest on the order of the labels alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from embhub.audits import beta
from embhub.audits.statistics import CONFIDENCE, Interval, proportion_high, proportion_low

RATES = (0.1, 0.01, 0.001)  # false-positive rates reported
FEWEST = {0.1: 50, 0.01: 100, 0.001: 1000}  # coins that fell out, or non-members, who carry them


class Independent(NamedTuple):
    """How many independent coins fell on each side: the coins are the randomisation, so every one counts."""

    members: int
    nonmembers: int


def interval_at(
    members: Sequence[float], nonmembers: Sequence[float], fpr: float, *, independent: Independent
) -> Interval:
    """Two-sided 95 % interval of the true-positive rate where the true false-positive rate is `fpr`."""
    each = (1 - CONFIDENCE) / 2
    return Interval(
        _low(members, nonmembers, fpr, independent=independent, alpha=each),
        upper_limit_at(members, nonmembers, fpr, independent=independent, level=each),
    )


def upper_limit_at(
    members: Sequence[float], nonmembers: Sequence[float], fpr: float, *, independent: Independent, level: float
) -> float:
    """One-sided upper limit, at a confidence of 1 - `level`, of the true-positive rate where the true false-positive
    rate is `fpr`.

    The threshold takes up to six tenths of the level, and the share of members whatever that leaves.
    """
    lax = 1 + _last_above(0.6 * level, independent.nonmembers, fpr)
    if lax > independent.nonmembers:
        return 1.0
    threshold = sorted(nonmembers, reverse=True)[lax - 1]
    found = sum(score >= threshold for score in members)
    return proportion_high(found, len(members), alpha=level - _below(lax, independent.nonmembers, fpr))


def _low(
    members: Sequence[float], nonmembers: Sequence[float], fpr: float, *, independent: Independent, alpha: float
) -> float:
    strict = _last_above(1 - 0.6 * alpha, independent.nonmembers, fpr)
    if strict == 0:
        return 0.0
    threshold = sorted(nonmembers, reverse=True)[strict - 1]
    found = sum(score > threshold for score in members)
    return proportion_low(found, len(members), alpha=alpha - (1 - _below(strict, independent.nonmembers, fpr)))


def _below(place: int, trials: int, fpr: float) -> float:
    """Probability that the true false-positive rate above the `place`-th largest of `trials` non-members is below."""
    return beta.regularised(place, trials - place + 1, fpr)


@lru_cache(maxsize=1_000)
def _last_above(chance: float, trials: int, fpr: float) -> int:
    """The last place at which `_below` is more than `chance`, since it falls from place to place; 0 where none is."""
    low, high = 0, trials
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _below(middle, trials, fpr) > chance else (low, middle - 1)
    return low
