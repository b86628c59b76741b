"""Coins and guesses of a report, read by somebody who has every image and trained shadows of her own.

Who was in the file cannot be read off them: the file's labels are independent of the coins. What they might tell is
whether a person is among those audited at all. The outsider knows each person's habits, that is, how likely every
pattern of coin and guesses is for her, and asks whose habits the published patterns fit.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from embhub.audits import statistics
from embhub.audits.guesses import Guesses
from embhub.diffusion.attacks.in_turn import REFERENCES, attack_in_turn, guess_coins
from embhub.diffusion.attacks.shadows import Shadows
from tests.support.quick import quick

AUDITED, STRANGERS, SHADOWS, DRAWS = 100, 100, 8, 4
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def train(rng: np.random.Generator, traits: Floats, gain: float) -> tuple[Shadows, torch.Tensor]:
    """Shadows of these people by fresh coins, and the losses without any: their difficulty and noise of as much."""
    coins = rng.random((REFERENCES + SHADOWS, len(traits))) < 0.5
    noise = 0.9 * rng.normal(size=(*coins.shape, 1)) + 0.87 * rng.normal(size=(*coins.shape, DRAWS))
    losses = 5 + traits[:, None] + noise - gain * coins[..., None]
    without = 5.2 + traits[:, None] + 0.3 * rng.normal(size=(len(traits), DRAWS))
    return Shadows(torch.from_numpy(losses), torch.from_numpy(coins)), torch.from_numpy(without)


def patterns(told: Guesses) -> Ints:
    """Coin and guesses of each published place as one number."""
    letters = np.array([list(told.coins), *(list(told.by[name]) for name in sorted(told.by))])
    bits: Ints = (letters == "m").astype(np.int64).T @ (1 << np.arange(len(letters)))
    return bits


def count_patterns(rng: np.random.Generator, traits: Floats, gain: float, rounds: int) -> Floats:
    """How often each person has each pattern in the outsider's own audits of everybody, (people, patterns)."""
    people, found = len(traits), None
    for _ in range(rounds):
        shadows, without = train(rng, traits, gain)
        attacks = attack_in_turn(shadows, without, tuple(map(str, range(people))))
        guessed = [scores > np.median(scores, axis=0) for _, (scores, _) in sorted(attacks.items())]
        columns = np.stack([next(iter(attacks.values())).inside, *guessed])
        bits = np.tensordot(1 << np.arange(len(columns)), columns.astype(np.int64), 1)
        found = np.ones((people, 1 << len(columns))) if found is None else found
        np.add.at(found, (np.tile(np.arange(people), len(bits)), bits.ravel()), 1)
    assert found is not None
    return found / found.sum(1, keepdims=True)


def sureness(published: Ints, habits: Floats) -> Floats:
    """The log-likelihood of the published patterns by each person's habits beside everybody's."""
    counts = np.bincount(published, minlength=habits.shape[1])
    found: Floats = (counts * np.log(habits / habits.mean(0))).sum(1)
    return found


@pytest.mark.parametrize("gain", [0.0, 0.38])
@pytest.mark.parametrize("reports", quick([1], thorough=[8]))
def test_coins_and_guesses_tell_neither_the_cohort_nor_the_file(gain: float, reports: int) -> None:
    """With leaks that an AUC of .6 shows, and without any; from one report, and from eight of the same cohort."""
    of_file, of_cohort = [], []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        traits = rng.normal(size=AUDITED + STRANGERS)
        audited = rng.permutation(AUDITED + STRANGERS) < AUDITED
        inside = rng.random(len(traits)) < 0.5
        habits = count_patterns(rng, traits, gain, rounds=40)
        names = tuple(map(str, range(AUDITED)))
        told = np.zeros(len(traits))
        for _ in range(reports):
            found = attack_in_turn(*train(rng, traits[audited], gain), names)
            told += sureness(patterns(guess_coins(found, seed=int(rng.integers(2**31)))), habits)
        of_file.append(statistics.auc(told[audited & inside], told[audited & ~inside]))
        of_cohort.append(statistics.auc(told[audited], told[~audited]))
    assert abs(np.mean(of_file) - 0.5) < 0.1
    assert np.mean(of_cohort) < 0.6


def test_the_outsider_sees_what_there_is_to_see() -> None:
    """Had the guesses told of a person's difficulty, she would be found: here each pattern is one of difficulty."""
    rng = np.random.default_rng(0)
    traits = rng.normal(size=AUDITED + STRANGERS)
    audited = rng.permutation(AUDITED + STRANGERS) < AUDITED
    hardness = np.clip(((traits[:, None] + 0.3 * rng.normal(size=(len(traits), 50))) * 4 + 16).astype(int), 0, 31)
    habits = np.stack([np.bincount(row, minlength=32) + 0.1 for row in hardness])
    habits = habits / habits.sum(1, keepdims=True)
    each = traits[audited][:, None] + 0.3 * rng.normal(size=(AUDITED, SHADOWS))
    told = sureness(np.clip((each * 4 + 16).astype(int), 0, 31).ravel(), habits)
    assert statistics.auc(told[audited], told[~audited]) > 0.55
