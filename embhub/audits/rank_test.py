"""The one-sided Mann-Whitney test: could the members' scores be this high by chance?

The figures are those of `scipy.stats.mannwhitneyu`, to which a test holds them; importing scipy.stats takes longer than
all else of `embhub verify`.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

from embhub.audits import beta


def wins(members: Sequence[float], nonmembers: Sequence[float]) -> float:
    """Pairs in which the member scores higher, a tie counting one half: the statistic U."""
    outside = sorted(nonmembers)
    return (
        sum(
            (bisect_left(outside, score) + bisect_right(outside, score)) * count
            for score, count in Counter(members).items()
        )
        / 2
    )


@lru_cache(maxsize=256)  # a report is recomputed at each check of it
def chance_exact(won: int, n_members: int, n_nonmembers: int) -> float:
    """Probability of at least `won` pairs when every order of distinct scores is equally likely."""
    pairs = n_members * n_nonmembers
    fewest = min(won, pairs - won)  # the distribution is symmetric: the shorter tail is summed
    small, large = sorted((n_members, n_nonmembers))
    orders = math.comb(n_members + n_nonmembers, small)
    step = pairs // 16 + 1  # attacks of one audit differ by less, mostly, and share what is counted
    counts, sums, width = _count_orders(small, large, -(-fewest // step) * step)
    here, tail = (held >> width * fewest & (1 << width) - 1 for held in (counts, sums))
    upper = tail if won > pairs - won or won * 2 == pairs else orders - tail + here
    return upper / orders


@lru_cache(maxsize=8)
def _count_orders(small: int, large: int, most: int) -> tuple[int, int, int]:
    """How many orders of distinct scores have u pairs, and how many at most u, for each u up to `most`.

    The number of orders with u pairs is the coefficient of q^u in the Gaussian binomial, the product of
    (1 - q^(m + i)) / (1 - q^i) for i from 1 to n; m and n are the sizes, n the smaller. A polynomial is held as one
    whole number, its value where q is a power of two that exceeds every coefficient, so that nothing is rounded.

    Returns:
        Both polynomials, and the exponent of that power of two: the width of a coefficient in bits.
    """
    width = math.comb(small + large, small).bit_length() + 1

    def divided(polynomial: int, power: int, degree: int) -> int:
        """By 1 - q^power: times 1 + q^power, times 1 + q^(2 power), and so on; powers above q^degree are dropped."""
        kept = (1 << width * (degree + 1)) - 1
        polynomial &= kept
        while power <= degree:
            polynomial = (polynomial + (polynomial << width * power)) & kept
            power *= 2
        return polynomial

    counts = 1
    for index in range(1, small + 1):
        degree = min(most, large * index)  # of the Gaussian binomial of (m + i) over i, which `counts` is after this
        counts -= counts << width * (large + index) if large + index <= degree else 0
        counts = divided(counts, index, degree)
    return counts, divided(counts, 1, most), width


def chance_normal(won: float, members: Sequence[float], nonmembers: Sequence[float]) -> float:
    """The same by the normal approximation, with corrections for ties and continuity."""
    pairs, total = len(members) * len(nonmembers), len(members) + len(nonmembers)
    ties = sum(count**3 - count for count in Counter([*members, *nonmembers]).values())
    deviation = math.sqrt(pairs / 12 * ((total + 1) - ties / (total * (total - 1))))
    return beta.normal_cdf(-(won - pairs / 2 - 0.5) / deviation)
