"""Shadows attacked in turn: no score knows a coin, so the rank test is exact; half as many see as much."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from embhub.audits import statistics
from embhub.diffusion.attacks.shadows import Shadows, flip_coins, score_in_turn
from tests.support.separate_references import balance_coins, score_apart

IMAGES, DRAWS = 30, 4


def losses_of(coins: torch.Tensor, leak: float, seed: int) -> torch.Tensor:
    """Of shadows (S, N) that fit what they saw better by `leak`; images differ in hardness, shadows in quality."""
    generator = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator).double()

    shadows, images = coins.shape
    hardness, quality = 2 * noise(images, 1), 0.3 * noise(shadows, 1, 1)
    return 3 + hardness + quality + 0.1 * noise(shadows, images, DRAWS) - leak * coins[..., None].double()


def p_value(scores: torch.Tensor, coins: torch.Tensor) -> float:
    centred = scores - scores.mean(1, keepdim=True)
    return float(statistics.p_value(centred[coins], centred[~coins]))


@pytest.mark.thorough
def test_false_alarms_are_as_rare_as_the_level_says() -> None:
    """400 recipes that remember nobody, on 30 patients: at 5 %, 20 alarms are expected, and 36 are one in a thousand.

    The scores of one patient depend on each other, and on nobody's coin: that is what the test needs.
    """
    alarms = 0
    for seed in range(400):
        coins = torch.from_numpy(flip_coins(8, IMAGES, seed=seed))
        alarms += p_value(score_in_turn(losses_of(coins, 0.0, seed)), coins) <= 0.05
    assert 6 <= alarms <= 36


def test_a_leak_is_seen_as_well_as_with_twice_the_shadows() -> None:
    areas = []
    for seed in range(40):
        flips = balance_coins(8, IMAGES, seed=seed), flip_coins(8, IMAGES, seed=seed)
        coins = torch.from_numpy(np.concatenate(flips))
        losses, known = losses_of(coins, 0.06, seed), coins[8:]
        both = score_apart(Shadows(losses[:8], coins[:8]), losses[8:]), score_in_turn(losses[8:])
        centred = [scores - scores.mean(1, keepdim=True) for scores in both]
        areas.append([statistics.auc(scores[known], scores[~known]) for scores in centred])
    apart, turn = np.mean(areas, axis=0)
    assert apart > 0.6
    assert turn > apart


def test_one_shadow_has_nothing_to_be_compared_with() -> None:
    with pytest.raises(ValueError, match="two or more"):
        score_in_turn(torch.zeros(1, 3, 2).double())
