"""True-positive rates at a low false-positive rate, with limits that hold though the threshold is estimated too.

The threshold of a false-positive rate is not known: it is read off the non-members, and a share that is counted at it
errs with it. The limits here take one order statistic of the non-members whose true false-positive rate is below the
wanted one, another whose is above, each with the confidence that is left beside the exact limit of the share of members
(David and Nagaraja 2003, Order Statistics, section 7.1; Clopper and Pearson 1934). They hold for every distribution of
scores, by the union bound, and rest on the order of the labels alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from embhub.audits import beta
from embhub.audits.statistics import CONFIDENCE, Interval, proportion_high, proportion_low

RATES = (0.1, 0.01, 0.001)  # false-positive rates reported
FEWEST = {0.1: 50, 0.01: 100, 0.001: 1000}  # non-members who carry them: units, however many scores each has


class Independent(NamedTuple):
    """How many independent units stand behind the scores of each side."""

    members: int
    nonmembers: int


def count_independent(n_members: int, n_nonmembers: int, *, models: int) -> Independent:
    """Independent units behind these scores, pooled over `models` trained embeddings.

    Scores of one unit under several embeddings say much the same, so they count as one. Each unit is a member of a
    binomial number of the embeddings: Kish's (1965) effective number of such clusters is the number of units over
    1 + 1/models, on either side.
    """
    if models == 1:
        return Independent(n_members, n_nonmembers)
    effective = (n_members + n_nonmembers) // (models + 1)
    return Independent(max(1, min(n_members, effective)), max(1, min(n_nonmembers, effective)))


def interval_at(
    members: Sequence[float], nonmembers: Sequence[float], fpr: float, *, independent: Independent
) -> Interval:
    """Two-sided 95 % interval of the true-positive rate where the true false-positive rate is `fpr`."""
    each = (1 - CONFIDENCE) / 4
    return Interval(
        _low(members, nonmembers, fpr, independent=independent, alpha=each),
        _high(members, nonmembers, fpr, independent=independent, alpha=each),
    )


def upper_limit_at(
    members: Sequence[float], nonmembers: Sequence[float], fpr: float, *, independent: Independent
) -> float:
    """One-sided 95 % upper limit of the true-positive rate where the true false-positive rate is `fpr`."""
    return _high(members, nonmembers, fpr, independent=independent, alpha=(1 - CONFIDENCE) / 2)


def _low(
    members: Sequence[float], nonmembers: Sequence[float], fpr: float, *, independent: Independent, alpha: float
) -> float:
    strict = _last(lambda place: _below(place, independent.nonmembers, fpr) >= 1 - alpha, independent.nonmembers)
    if strict == 0:
        return 0.0
    descending = sorted(nonmembers, reverse=True)
    threshold = descending[max(1, math.floor(strict * len(descending) / independent.nonmembers)) - 1]
    found = sum(score > threshold for score in members) / len(members)
    return proportion_low(found * independent.members, independent.members, alpha=alpha)


def _high(
    members: Sequence[float], nonmembers: Sequence[float], fpr: float, *, independent: Independent, alpha: float
) -> float:
    lax = 1 + _last(lambda place: _below(place, independent.nonmembers, fpr) > alpha, independent.nonmembers)
    if lax > independent.nonmembers:
        return 1.0
    descending = sorted(nonmembers, reverse=True)
    threshold = descending[min(len(descending), math.ceil(lax * len(descending) / independent.nonmembers)) - 1]
    found = sum(score >= threshold for score in members) / len(members)
    return proportion_high(found * independent.members, independent.members, alpha=alpha)


def _below(place: int, trials: int, fpr: float) -> float:
    """Probability that the true false-positive rate above the `place`-th largest of `trials` non-members is below."""
    return beta.regularised(place, trials - place + 1, fpr)


def _last(holds: Callable[[int], bool], most: int) -> int:
    """The largest number up to `most` for which a condition holds that holds up to some number; 0 where none."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(middle) else (low, middle - 1)
    return low
