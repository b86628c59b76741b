"""A lower bound of epsilon from one set of coin flips: how many of them were guessed?

Each unit went into a training by a fair coin of its own. Who sees the result guesses `guesses` coins and leaves the
rest; a mechanism with differential privacy bounds how many of the guesses can be right. Pure functions of counts.

The theory asks for independent fair coins: shadow targets have them, a split by a fixed share has not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple, cast

from embhub.audits import beta
from embhub.audits.brent import find_root
from embhub.audits.statistics import DELTA

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

SHARE = 0.25
"""Of all coins, how many are guessed: the highest eighth as members, the lowest eighth as others. Fixed beforehand."""
_LARGEST = 50.0


class OneRun(NamedTuple):
    """`correct` of `guesses` among `coins`; the epsilon refuted, and the one refuted if the mechanism is Gaussian."""

    coins: int
    guesses: int
    correct: int
    lower_bound: float
    lower_bound_gaussian: float


def audit_coins(
    members: ArrayLike, nonmembers: ArrayLike, *, delta: float = DELTA, alpha: float = 0.05, share: float = SHARE
) -> OneRun:
    """Both bounds from the scores of coins that fell `in` and `out`, higher scores being more member-like.

    Ties count against the audit: among equal scores at an edge, the wrong ones are guessed first.
    """
    sides = ((members, True), (nonmembers, False))
    tossed = [(float(score), inside) for scores, inside in sides for score in cast("Sequence[float]", scores)]
    coins = len(tossed)
    each = int(coins * share / 2)
    highest = sorted(tossed, key=lambda coin: (-coin[0], coin[1]))[:each]  # of equal scores those outside first
    lowest = sorted(tossed, key=lambda coin: (coin[0], not coin[1]))[:each]  # and here those inside
    correct = sum(inside for _, inside in highest) + sum(not inside for _, inside in lowest)
    return OneRun(
        coins,
        2 * each,
        correct,
        bound(coins, 2 * each, correct, delta=delta, alpha=alpha),
        bound_gaussian(coins, 2 * each, correct, delta=delta, alpha=alpha),
    )


def p_value(coins: int, guesses: int, correct: int, *, epsilon: float, delta: float = DELTA) -> float:
    """Chance of so many right guesses under (epsilon, delta)-differential privacy, at most.

    Theorem 5.2 of Steinke, Nasr and Jagielski (2023), arXiv 2305.08846: right guesses are dominated by a binomial of
    success e^epsilon / (1 + e^epsilon); delta adds its worst share.
    """
    tails = _tails(guesses, odds=math.exp(epsilon))
    tail = tails[correct]
    gains = ((tails[correct - fewer] - tail) / fewer for fewer in range(1, correct + 1))
    return min(1.0, tail + 2 * coins * delta * max(gains, default=0.0))


def bound(coins: int, guesses: int, correct: int, *, delta: float = DELTA, alpha: float = 0.05) -> float:
    """The largest epsilon that so many right guesses refute at level `alpha`; 0 where they refute none."""

    def spare(epsilon: float) -> float:
        return alpha - p_value(coins, guesses, correct, epsilon=epsilon, delta=delta)

    return _largest_root(spare)


def bound_gaussian(coins: int, guesses: int, correct: int, *, delta: float = DELTA, alpha: float = 0.05) -> float:
    """The same where the mechanism's trade-off curve is a Gaussian's, which DP-SGD's nearly is: tighter.

    Mahloujifar, Melis and Chaudhuri (2024), arXiv 2410.22235: for each Gaussian noise the recursion over the number of
    right guesses says whether it could have given so many; the epsilon is that of the largest noise refuted, at delta.
    """

    from statistics import NormalDist

    normal = NormalDist()

    def spare(epsilon: float) -> float:
        noise = gaussian_noise(epsilon, delta)
        right, wrong = alpha * correct / coins, alpha * (guesses - correct) / coins
        for number in range(correct - 1, -1, -1):
            more = beta.normal_cdf(normal.inv_cdf(right) - 1 / noise) if 0.0 < right < 1.0 else float(right >= 1.0)
            if more <= wrong:
                break  # neither changes from here on
            right += number / (guesses - number) * (more - wrong)
            wrong = more
        return right + wrong - guesses / coins

    return _largest_root(spare)


def gaussian_noise(epsilon: float, delta: float) -> float:
    """Standard deviation, in sensitivities, at which one Gaussian release has (epsilon, delta).

    Theorem 8 of Balle and Wang (2018), arXiv 1805.06530, solved for the noise.
    """

    def excess(noise: float) -> float:
        half = 1 / (2 * noise)
        spent = beta.normal_cdf(half - epsilon * noise)
        return spent - math.exp(epsilon) * beta.normal_cdf(-half - epsilon * noise) - delta

    return find_root(excess, 1e-2, max(1e6, 1 / delta))  # with an epsilon of 0 the noise is about 0.4 / delta


def _tails(trials: int, *, odds: float) -> list[float]:
    """Probabilities of at least 0, 1, … `trials` hits, of a binomial whose hits have these odds.

    Each term follows from its neighbour, from the largest outwards, so that nothing overflows; their sum is 1.
    """
    mode = min(trials, int((trials + 1) * odds / (1 + odds)))
    terms = [0.0] * (trials + 1)
    terms[mode] = 1.0
    for hits in range(mode, trials):
        terms[hits + 1] = terms[hits] * (trials - hits) / (hits + 1) * odds
    for hits in range(mode, 0, -1):
        terms[hits - 1] = terms[hits] * hits / (trials - hits + 1) / odds
    tails = list(accumulate(reversed(terms)))[::-1]
    return [tail / tails[0] for tail in tails]


def _largest_root(spare: Callable[[float], float]) -> float:
    """Where `spare`, which falls with epsilon, turns negative; 0 if it does at once."""
    if spare(1e-9) <= 0:
        return 0.0
    high = 1.0
    while spare(high) > 0:
        if high >= _LARGEST:
            return _LARGEST
        high *= 2
    return find_root(spare, 1e-9, high, tolerance=1e-6)
