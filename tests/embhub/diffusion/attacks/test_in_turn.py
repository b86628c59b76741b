"""Attacks on shadows in turn: which coins they guess, and that they find no leak where there is none."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from embhub.audits.attack_figures import IN_TURN
from embhub.audits.guesses import below_chance
from embhub.audits.report import SUITES
from embhub.audits.statistics import p_value
from embhub.diffusion.attacks.in_turn import REFERENCES, InTurn, attack_in_turn, guess_coins
from embhub.diffusion.attacks.shadows import Shadows, flip_coins
from tests.support.quick import quick

SHADOWS, UNITS, DRAWS = 8, 40, 6


def attack(seed: int, leak: float = 0.0, units: int = UNITS) -> dict[str, InTurn]:
    """Losses that differ by image, shadow and chance, and by `leak` for those who were in a shadow."""
    rng, coins = np.random.default_rng(seed), flip_coins(REFERENCES + SHADOWS, units, seed=seed)
    images, models = rng.normal(size=(1, units, 1)), 0.1 * rng.normal(size=(len(coins), 1, 1))
    losses = 1 + images + models + 0.3 * rng.normal(size=(len(coins), units, DRAWS)) - leak * coins[..., None]
    without = 1.2 + images[0] + 0.1 * rng.normal(size=(units, DRAWS))
    shadows = Shadows(torch.from_numpy(losses), torch.from_numpy(coins))
    return attack_in_turn(shadows, torch.from_numpy(without), tuple(map(str, range(units))))


def test_every_attack_of_the_standard_suite_is_tried_on_shadows() -> None:
    found = attack(1)
    assert set(found) == {name for name in SUITES["standard"] if name.endswith(IN_TURN)}
    coins = flip_coins(REFERENCES + SHADOWS, UNITS, seed=1)
    for scores, inside in found.values():
        assert scores.shape == inside.shape == (SHADOWS, UNITS)
        assert (inside == coins[REFERENCES:]).all()


def test_no_score_depends_on_a_coin_that_is_attacked() -> None:
    rng = np.random.default_rng(5)
    losses, without = (
        torch.from_numpy(rng.normal(size=(REFERENCES + 2, 12, 3))),
        torch.from_numpy(rng.normal(size=(12, 3))),
    )
    units = tuple(map(str, range(12)))
    coins = torch.from_numpy(rng.random((REFERENCES + 2, 12)) < 0.5)
    before = attack_in_turn(Shadows(losses, coins), without, units)
    turned = torch.cat([coins[:REFERENCES], ~coins[REFERENCES:]])
    after = attack_in_turn(Shadows(losses, turned), without, units)
    for name, (scores, _) in before.items():
        assert np.array_equal(scores, after[name].scores), name


def test_images_of_a_unit_are_averaged() -> None:
    rng = np.random.default_rng(5)
    losses, without = torch.from_numpy(rng.normal(size=(6, 12, 3))), torch.from_numpy(rng.normal(size=(12, 3)))
    coins = torch.from_numpy(np.repeat(rng.random((6, 6)) < 0.5, 2, axis=1))
    units = tuple(f"p{place // 2}" for place in range(12))
    found = attack_in_turn(Shadows(losses, coins), without, units)["loss-shadows"]
    by_hand = -losses.mean(2).reshape(6, 6, 2).mean(2)[REFERENCES:]
    np.testing.assert_allclose(found.scores, by_hand - by_hand.mean(1, keepdim=True))
    assert (found.inside == coins[REFERENCES:, ::2].numpy()).all()


@pytest.mark.parametrize("rounds", quick([60], exhaustive=[400]))
def test_without_a_leak_coins_are_called_one_as_often_as_is_said(rounds: int) -> None:
    alarms = {"below chance": 0}
    for seed in range(rounds):
        results = attack(seed)
        alarms["below chance"] += below_chance(guess_coins(results, seed=seed)) <= 0.05
        for name, (scores, inside) in results.items():
            found = p_value(scores[inside].tolist(), scores[~inside].tolist()) <= 0.05
            alarms[name] = alarms.get(name, 0) + found
    highest = 0.05 + 3.3 * (0.05 * 0.95 / rounds) ** 0.5
    assert all(count / rounds <= highest for count in alarms.values()), alarms


def test_a_leak_is_found_by_each() -> None:
    found = attack(3, leak=0.5)
    assert all(p_value(scores[inside], scores[~inside]) < 0.001 for name, (scores, inside) in found.items()
               if name not in ("loss-shadows",))  # fmt: skip


def test_one_attack_that_does_worse_than_guessing_is_seen_among_all() -> None:
    found = attack(3)
    turned = {
        **found,
        "loss-shadows": found["loss-shadows"]._replace(scores=-found["loss-shadows"].inside.astype(np.float64)),
    }
    assert below_chance(guess_coins(turned, seed=3)) == 1 / 2_000
    assert below_chance(guess_coins(attack(3, leak=0.5), seed=3)) > 0.5, "a leak is no attack turned round"


def test_no_guess_tells_of_an_image() -> None:
    """A patient's own difficulty, in place and in scale, changes no guess: they compare her with herself."""
    rng = np.random.default_rng(1)
    inside = rng.random((SHADOWS, UNITS)) < 0.5
    found = {name: InTurn(rng.normal(size=(SHADOWS, UNITS)), inside) for name in ("lira-shadows", "loss-shadows")}
    place, scale = rng.normal(size=(2, 1, UNITS))
    others = {name: InTurn(place + np.exp(scale) * scores, inside) for name, (scores, _) in found.items()}
    assert guess_coins(others, seed=3) == guess_coins(found, seed=3)


def test_coins_and_guesses_keep_together_and_are_shuffled() -> None:
    found = attack(3, leak=3.0)
    told = guess_coins(found, seed=3)
    coins = found["lira-shadows"].inside.ravel()
    assert told.coins != "".join("m" if coin else "n" for coin in coins)
    assert told.coins.count("m") == coins.sum()
    right = sum(guess == coin for guess, coin in zip(told.by["lira-shadows"], told.coins, strict=True))
    assert right > 0.75 * coins.size
