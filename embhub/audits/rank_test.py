"""The one-sided Mann-Whitney test: could the members' scores be this high by chance?

The figures are those of `scipy.stats.mannwhitneyu`, to which a test holds them; importing scipy.stats takes longer than
all else of `embhub verify`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from embhub.audits import beta
from embhub.audits.distinct import find_distinct

Floats = NDArray[np.float64]


def average_ranks(values: Floats) -> Floats:
    """Ranks from 1; equal values share the mean of theirs."""
    _, codes, counts = find_distinct(values)
    last = np.cumsum(counts)
    ranks: Floats = ((2 * last - counts + 1) / 2)[codes]
    return ranks


def wins(members: Floats, nonmembers: Floats) -> float:
    """Pairs in which the member scores higher, a tie counting one half: the statistic U."""
    ranks = average_ranks(np.concatenate([members, nonmembers]))
    return float(ranks[: members.size].sum() - members.size * (members.size + 1) / 2)


def chance_exact(won: int, n_members: int, n_nonmembers: int) -> float:
    """Probability of at least `won` pairs when every order of distinct scores is equally likely.

    A. Löffler (1983): the number c of orders with u pairs follows from those with fewer,
    u c(u) = sum over i < u of c(i) s(u - i), where s(k) adds the divisors of k up to n and takes off those from m + 1
    to m + n; n and m are the sizes, n the smaller.
    """
    pairs = n_members * n_nonmembers
    fewest = min(won, pairs - won)  # the distribution is symmetric: the shorter tail is summed
    small, large = sorted((n_members, n_nonmembers))
    divisors = np.zeros(fewest + 1)
    for divisor in range(1, small + 1):
        divisors[divisor::divisor] += divisor
        divisors[large + divisor :: large + divisor] -= large + divisor
    counts = np.zeros(fewest + 1)
    counts[0] = 1
    for number in range(1, fewest + 1):
        counts[number] = np.dot(counts[:number], np.ascontiguousarray(divisors[number:0:-1])) / number
    shares = counts / float(math.comb(n_members + n_nonmembers, small))
    tail = float(np.cumsum(shares)[fewest])
    return tail if won > pairs - won or won * 2 == pairs else 1.0 - tail + float(shares[fewest])


def chance_normal(won: float, members: Floats, nonmembers: Floats) -> float:
    """The same by the normal approximation, with corrections for ties and continuity."""
    total = members.size + nonmembers.size
    counts = find_distinct(np.concatenate([members, nonmembers])).counts
    ties = np.sum(counts.astype(np.float64) ** 3 - counts)
    deviation = np.sqrt(members.size * nonmembers.size / 12 * ((total + 1) - ties / (total * (total - 1))))
    return beta.normal_cdf(float(-(won - members.size * nonmembers.size / 2 - 0.5) / deviation))
