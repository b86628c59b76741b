"""Estimators of a membership-inference audit: pure functions of two lists of scores.

A score says how much a unit (a patient, or an image where there are no patients) looks like a member of the training
set; higher is more member-like. Every function takes the members' scores first, then the non-members', as
one-dimensional sequences of finite numbers, both non-empty.

A tie never helps the auditor: it counts one half in the AUC and against the audit everywhere else.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, NamedTuple, cast

from embhub.audits import beta, rank_test
from embhub.audits.brent import find_root

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

CONFIDENCE = 0.95
DELTA = 1e-5
_EXACT_UP_TO = 10_000  # pairs up to which the exact rank distribution is used: it costs time, and gains nothing above


class Interval(NamedTuple):
    """Closed interval of a figure in [0, 1]."""

    low: float
    high: float


class EpsilonBound(NamedTuple):
    """Lower bound of epsilon and the counts it rests on, at the fixed threshold."""

    lower_bound: float
    true_positives: int
    false_positives: int


def auc(members: ArrayLike, nonmembers: ArrayLike) -> float:
    """Probability that a member scores above a non-member, ties counting one half (Mann-Whitney)."""
    inside, outside = _scores(members), _scores(nonmembers)
    return rank_test.wins(inside, outside) / (len(inside) * len(outside))


def auc_interval(area: float, n_members: int, n_nonmembers: int, *, confidence: float = CONFIDENCE) -> Interval:
    """Interval of an AUC from the AUC and the two counts alone, so that anyone can recompute it.

    Hanley and McNeil's variance with symmetrised counts, inverted as a score interval: method 5 of Newcombe (2006),
    Statistics in Medicine 25:559-573. Unlike the Wald and DeLong intervals it keeps its width at an AUC of 0 or 1; at
    0.5 its variance is the exact one of the rank test, so "above 0.5" and the test agree.
    """
    z = beta.normal_quantile((1 + confidence) / 2)
    pairs = n_members * n_nonmembers
    half = (n_members + n_nonmembers) / 2 - 1

    def excess(theta: float) -> float:
        variance = theta * (1 - theta) * (1 + half * ((1 - theta) / (2 - theta) + theta / (1 + theta))) / pairs
        return (area - theta) ** 2 - z * z * variance

    edge = 1e-12  # `excess` is also zero at 0 and 1 themselves, which is not the limit that is sought
    low = 0.0 if area <= 0 else find_root(excess, 0.0, min(area, 1 - edge))
    high = 1.0 if area >= 1 else find_root(excess, max(area, edge), 1.0)
    return Interval(low, high)


def p_value(members: ArrayLike, nonmembers: ArrayLike) -> float:
    """One-sided Mann-Whitney p-value of "members do not score higher than non-members".

    The exact permutation distribution where no two scores tie and the classes make at most 10,000 pairs; otherwise the
    normal approximation with tie correction. All scores tied give 1.
    """
    inside, outside = _scores(members), _scores(nonmembers)
    distinct = len({*inside, *outside})
    if distinct == 1:
        return 1.0
    exact = distinct == len(inside) + len(outside) and len(inside) * len(outside) <= _EXACT_UP_TO
    won = rank_test.wins(inside, outside)
    if exact:
        return rank_test.chance_exact(int(won), len(inside), len(outside))
    return min(1.0, rank_test.chance_normal(won, inside, outside))


def smallest_auc(n_members: int, n_nonmembers: int, *, alpha: float, chance: float = 0.8) -> float:
    """Smallest true AUC that the one-sided rank test at level `alpha` sees with probability `chance` (at most 1).

    By the test's standard deviation under no leak; a class of six or so is beyond the approximation.
    """
    deviation = math.sqrt((n_members + n_nonmembers + 1) / (12 * n_members * n_nonmembers))
    return min(1.0, 0.5 + (beta.normal_quantile(chance) - beta.normal_quantile(alpha)) * deviation)


def proportion_low(successes: float, trials: int, *, alpha: float) -> float:
    """One-sided Clopper-Pearson lower limit: exact, at level 1 - alpha."""
    return 0.0 if successes == 0 else beta.quantile(successes, trials - successes + 1, alpha)


def proportion_high(successes: float, trials: int, *, alpha: float) -> float:
    """One-sided Clopper-Pearson upper limit: exact, at level 1 - alpha."""
    return 1.0 if successes == trials else 1.0 - beta.quantile(trials - successes, successes + 1, alpha)


def proportion_interval(successes: int, trials: int, *, confidence: float = CONFIDENCE) -> Interval:
    """Two-sided Clopper-Pearson interval."""
    alpha = (1 - confidence) / 2
    return Interval(proportion_low(successes, trials, alpha=alpha), proportion_high(successes, trials, alpha=alpha))


def hits_at(members: ArrayLike, nonmembers: ArrayLike, fpr: float) -> int:
    """Members found when at most a share `fpr` of the non-members is accused.

    The threshold is the strictest that keeps to it: strictly above the (k + 1)-th largest non-member, k = floor(fpr n).
    """
    inside, outside = _scores(members), _scores(nonmembers)
    allowed = math.floor(fpr * len(outside) + 1e-9)
    if allowed >= len(outside):
        return len(inside)
    threshold = sorted(outside, reverse=True)[allowed]
    return sum(score > threshold for score in inside)


def roc(members: ArrayLike, nonmembers: ArrayLike) -> tuple[Floats, Floats]:
    """False- and true-positive rates from (0, 0) to (1, 1); tied scores make one straight piece."""
    import numpy as np

    inside, outside = np.sort(_scores(members)), np.sort(_scores(nonmembers))
    thresholds = np.array(sorted({*inside.tolist(), *outside.tolist()}, reverse=True))
    hits = inside.size - np.searchsorted(inside, thresholds, side="left")
    alarms = outside.size - np.searchsorted(outside, thresholds, side="left")
    return np.concatenate([[0.0], alarms / outside.size]), np.concatenate([[0.0], hits / inside.size])


def epsilon_bound(
    members: ArrayLike, nonmembers: ArrayLike, *, delta: float = DELTA, alpha: float = 0.05
) -> EpsilonBound:
    """Lower bound of the epsilon of (epsilon, delta)-differential privacy that these scores refute.

    The threshold is fixed without looking at who is a member: the n-th largest of all scores, n the number of members.
    A member counts as found strictly above it, a non-member as accused from it upwards (pessimistic ties: scores that
    are all tied certify exactly 0). Clopper-Pearson limits at `alpha` a side give
    epsilon >= log((TPR_low - delta) / FPR_high).

    Units count as independent given the embedding; no threshold is searched, so no correction for a search is due.
    """
    inside, outside = _scores(members), _scores(nonmembers)
    pooled = sorted([*inside, *outside], reverse=True)
    # Between the n-th and the next score where they differ, so that the n-th itself is found; on them where they tie.
    threshold = (pooled[len(inside) - 1] + pooled[len(inside)]) / 2
    found, accused = sum(score > threshold for score in inside), sum(score >= threshold for score in outside)
    low = proportion_low(found, len(inside), alpha=alpha)
    high = proportion_high(accused, len(outside), alpha=alpha)
    bound = math.log((low - delta) / high) if low - delta > high else 0.0
    return EpsilonBound(bound, found, accused)


def largest_epsilon(n_members: int, n_nonmembers: int, *, delta: float = DELTA, alpha: float = 0.05) -> float:
    """The bound that a perfect attack would reach: no audit of this size can show more.

    With n a class it is log(q / (1 - q)), q = alpha ** (1 / n): the figure of n correct guesses out of n in the one-run
    audit of Steinke, Nasr and Jagielski (2023), arXiv 2305.08846.
    """
    return epsilon_bound([1.0] * n_members, [0.0] * n_nonmembers, delta=delta, alpha=alpha).lower_bound


def average_by_unit(scores: ArrayLike, units: Sequence[Hashable]) -> tuple[list[Hashable], Floats]:
    """Mean score of each unit over its images; units in the order of their first image."""
    import numpy as np

    values = _scores(scores)
    order = {unit: index for index, unit in enumerate(dict.fromkeys(units))}
    codes = np.array([order[unit] for unit in units])
    return list(order), np.bincount(codes, weights=values) / np.bincount(codes)


def _scores(values: ArrayLike) -> list[float]:
    """Numbers of Python, of whatever sequence: a report's ranks are read without numpy, which takes long to import."""
    try:
        scores = list(map(float, cast("Sequence[float]", values)))
    except TypeError:
        scores = []
    if getattr(values, "ndim", 1) != 1 or not scores or not all(map(math.isfinite, scores)):
        raise ValueError("scores must be a non-empty list of finite numbers")
    return scores
