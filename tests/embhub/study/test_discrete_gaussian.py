"""Noise on whole numbers: its distribution, and that double precision decides no outcome."""

from __future__ import annotations

import math
import os

import numpy as np
import pytest
from scipy import stats

from embhub.study import discrete_gaussian
from embhub.study.discrete_gaussian import draw

FALSE_ALARM = 1e-6


@pytest.mark.parametrize("variance", [1, 2, 3, 16, 50, 1000])
def test_the_masses_are_those_of_the_definition(variance: int) -> None:
    count, reach = 200_000, math.ceil(4 * math.sqrt(variance))
    found = draw(count, variance)
    weights = np.exp(-(np.arange(-20 * reach, 20 * reach + 1) ** 2) / (2 * variance))
    inner = weights[19 * reach : 21 * reach + 1] / weights.sum()
    expected = np.append(inner, 1 - inner.sum()) * count
    inside = found[np.abs(found) <= reach]
    seen = np.append(np.bincount(inside + reach, minlength=2 * reach + 1), count - len(inside))
    large = expected >= 5
    seen, expected = np.append(seen[large], seen[~large].sum()), np.append(expected[large], expected[~large].sum())
    assert stats.chisquare(seen[expected > 0], expected[expected > 0]).pvalue > FALSE_ALARM


@pytest.mark.parametrize("variance", [2**31, 2**31 + 12345, 3 * 2**40, 2**50])
def test_wide_noise_is_gaussian(variance: int) -> None:
    found = draw(100_000, variance) / math.sqrt(variance)
    assert stats.kstest(found, "norm").pvalue > FALSE_ALARM
    energy = float((found**2).sum())
    assert stats.chi2.sf(energy, 100_000) > FALSE_ALARM and stats.chi2.cdf(energy, 100_000) > FALSE_ALARM
    assert len(np.unique(draw(1000, variance) % 16)) == 16


@pytest.mark.parametrize("variance", [3, 1000, 2**31 + 1])
def test_double_precision_decides_nothing_that_more_digits_would_decide_otherwise(
    variance: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def repeat(margin: float) -> tuple[list[int], int]:
        random, settled = np.random.default_rng(7), 0
        decide = discrete_gaussian._decide

        def entropy(count: int) -> bytes:
            return random.bytes(count)

        def count_them(*arguments: int) -> bool:
            nonlocal settled
            settled += 1
            state = random.bit_generator.state
            answer = decide(*arguments)
            random.bit_generator.state = state  # so that what comes after reads the same bytes
            return answer

        with monkeypatch.context() as patched:
            patched.setattr(os, "urandom", entropy)
            patched.setattr(discrete_gaussian, "MARGIN", margin)
            patched.setattr(discrete_gaussian, "_decide", count_them)
            return draw(400, variance).tolist(), settled

    quick, few = repeat(discrete_gaussian.MARGIN)
    exact, many = repeat(2.0)
    assert quick == exact
    assert few == 0 and many > 1000


def test_a_chance_is_compared_beyond_64_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = round(math.exp(-0.5) * 2**64)
    near = [discrete_gaussian._decide(word, 1, 2) for word in (chance - 3000, chance + 3000)]
    assert near == [True, False]
    monkeypatch.setattr(os, "urandom", lambda count: b"\xff" * count)
    assert discrete_gaussian._decide(2**64 - 1, 0, 1)  # a chance of 1 is certain
    assert not discrete_gaussian._decide(2**64 - 1, 1, 10**60)


def test_each_call_reads_fresh_entropy(monkeypatch: pytest.MonkeyPatch) -> None:
    read, real = [0], os.urandom

    def count_them(count: int) -> bytes:
        read[0] += count
        return real(count)

    monkeypatch.setattr(os, "urandom", count_them)
    assert draw(1000, 2**31).tolist() != draw(1000, 2**31).tolist()
    assert read[0] >= 2 * 1000 * 4 * 8  # a place, two coins and a sign for each number at the least


@pytest.mark.parametrize("variance", [0, -1, 2**50 + 1, 2.5])
def test_other_variances_are_refused(variance: int) -> None:
    with pytest.raises(ValueError, match="variance"):
        draw(1, variance)


def test_nothing_is_drawn_for_nothing() -> None:
    assert draw(0, 16).shape == (0,)


def test_a_close_call_is_left_to_more_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    word, asked = int(math.exp(-0.5) * 2**64) + 2**20, []

    def exact(place: int) -> tuple[int, int]:
        asked.append(place)
        return 1, 2

    monkeypatch.setattr(os, "urandom", lambda count: (word.to_bytes(8, "little") + b"\0" * count)[:count])
    discrete_gaussian.flip(np.array([0.5, 0.5]), exact)
    assert asked == [0]
