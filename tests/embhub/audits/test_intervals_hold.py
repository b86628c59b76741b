"""Simulations: 95 % intervals cover the truth at least 93 times in a hundred, and false alarms come at 5 %."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from embhub.audits import orders, rates, statistics
from embhub.audits.attack_figures import measure, publish_order
from embhub.audits.verdict import ALPHA
from tests.support.quick import quick

ROUNDS = 400
Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], tuple[Floats, Floats]]


def independent(shift: float) -> Draw:
    def draw(generator: np.random.Generator, units: int) -> tuple[Floats, Floats]:
        return generator.normal(shift, 1, units), generator.normal(0, 1, units)

    return draw


def pooled(targets: int, shift: float, exposed: float) -> Draw:
    """Scores of `units` patients under several trainings: a share of them is exposed, and each has her own traits."""

    def draw(generator: np.random.Generator, units: int) -> tuple[Floats, Floats]:
        gain = np.where(generator.random(units) < exposed, shift, 0.0)
        coins = generator.random((targets, units)) < 0.5
        own, noise = generator.normal(0, 0.8, units), generator.normal(0, 0.6, (targets, units))
        scores = own + noise + coins * gain
        return scores[coins], scores[~coins]

    return draw


def in_turn(targets: int, shift: float, exposed: float) -> Draw:
    """The same, each training's losses compared with the mean of the others', whoever they learned from."""

    def draw(generator: np.random.Generator, units: int) -> tuple[Floats, Floats]:
        gain = np.where(generator.random(units) < exposed, shift, 0.0)
        coins = generator.random((targets, units)) < 0.5
        own, noise = generator.normal(0, 0.8, units), generator.normal(0, 1, (targets, units))
        seen = own + noise + coins * gain
        scores = seen - (seen.sum(0) - seen) / (targets - 1)
        return scores[coins], scores[~coins]

    return draw


def truth(draw: Draw, fpr: float, *, models: int = 1) -> tuple[float, float]:
    """The AUC, and the true-positive rate at this false-positive rate, of ever so many units."""
    members, nonmembers = draw(np.random.default_rng(99), 400_000 // models)
    return (
        statistics.auc(members[:200_000], nonmembers[:200_000]),
        float((members > np.quantile(nonmembers, 1 - fpr)).mean()),
    )


CASES = [
    *[(f"{units} a side, shift {shift}", independent(shift), 1, units, fpr)
      for units, fpr in ((50, 0.1), (100, 0.01)) for shift in (0.0, 1.0, 2.0)],
    *[(f"pooled, {share:.0%} exposed by {shift}", pooled(8, shift, share), 8, 120, 0.01)
      for shift, share in ((0.0, 1.0), (1.0, 1.0), (3.0, 0.1))],
    *[(f"in turn, {share:.0%} exposed by {shift}", in_turn(8, shift, share), 8, 120, 0.01)
      for shift, share in ((0.0, 1.0), (1.0, 1.0), (3.0, 0.1))],
    ("two targets", pooled(2, 2.0, 0.5), 2, 160, 0.01),
]  # fmt: skip


@pytest.mark.parametrize(
    ("draw", "models", "units", "fpr"),
    quick([CASES[0][1:], CASES[-1][1:]], thorough=[row[1:] for row in CASES[1:-1]]),
    ids=[row[0] for row in (CASES[0], CASES[-1], *CASES[1:-1])],
)
def test_intervals_cover_the_truth(draw: Draw, models: int, units: int, fpr: float) -> None:
    area, rate = truth(draw, fpr, models=models)
    generator = np.random.default_rng(20_261_121)
    held = {"auc": 0, "tpr": 0, "highest auc": 0, "highest tpr": 0}
    for _ in range(ROUNDS):
        members, nonmembers = (side.tolist() for side in draw(generator, units))
        count = rates.count_independent(len(members), len(nonmembers), models=models)
        low, high = statistics.auc_interval(statistics.auc(members, nonmembers), *count)
        held["auc"] += low <= area <= high
        low, high = rates.interval_at(members, nonmembers, fpr, independent=count)
        held["tpr"] += low <= rate <= high
        _, highest = statistics.auc_interval(statistics.auc(members, nonmembers), *count, confidence=0.9)
        held["highest auc"] += area <= highest
        held["highest tpr"] += rate <= rates.upper_limit_at(members, nonmembers, fpr, independent=count)
    assert min(held["auc"], held["tpr"]) >= 0.93 * ROUNDS, held
    assert min(held["highest auc"], held["highest tpr"]) >= 0.93 * ROUNDS, held


@pytest.mark.thorough
def test_an_interval_that_takes_the_threshold_for_known_would_not() -> None:
    """The intervals that version 1 printed: the test above can fail."""
    draw, held = independent(2.0), 0
    _, rate = truth(draw, 0.01)
    generator = np.random.default_rng(20_261_121)
    for _ in range(ROUNDS):
        members, nonmembers = draw(generator, 100)
        low, high = statistics.proportion_interval(statistics.hits_at(members, nonmembers, 0.01), 100)
        held += low <= rate <= high
    assert held < 0.7 * ROUNDS


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("sides", "rounds"),
    [
        ((30, 30), 4_000),
        *(pytest.param(sides, 20_000, marks=pytest.mark.thorough) for sides in [(30, 30), (70, 30), (200, 60)]),
    ],
    ids=str,
)
def test_a_file_that_leaks_nothing_is_called_leaking_once_in_twenty(sides: tuple[int, int], rounds: int) -> None:
    """The rule of the quick suite on what is published, many times: bins, or orders where the sides are large."""
    alarms = 0
    generator = np.random.default_rng(20_261_121)
    seen: dict[object, float] = {}
    for _ in range(rounds):
        found = []
        for name in ("loss-difference", "loss"):
            published: object
            ranks: tuple[ArrayLike, ArrayLike]
            scores = generator.random(sum(sides))
            members, nonmembers = scores[: sides[0]], scores[sides[0] :]
            if min(sides) < orders.FEWEST:
                _, bins = publish_order(name, 1, members.tolist(), nonmembers.tolist())
                published, ranks = bins, orders.read_bins(bins or ())
            else:  # an order has the figures of its scores, and without ties p follows from the AUC
                published, ranks = statistics.auc(members, nonmembers), (members, nonmembers)
            if published not in seen:
                seen[published] = statistics.p_value(*ranks)
            found.append(seen[published])
        alarms += found[0] <= ALPHA or found[1] <= ALPHA
    assert 0.04 <= alarms / rounds <= 0.05 + 3 * (0.05 * 0.95 / rounds) ** 0.5


def test_rates_count_patients_not_scores() -> None:
    """13 patients outside each of eight targets make 104 scores, and carry no rate at 1 %."""
    generator = np.random.default_rng(1)
    members, nonmembers = (side.tolist() for side in pooled(8, 0.0, 1.0)(generator, 26))
    order, bins = publish_order("lira-shadows", 8, members, nonmembers)
    result = measure(name="lira-shadows", models=8, order=order, bins=bins)
    assert len(nonmembers) >= 100
    assert result.bins is not None
    assert all(rate.tpr is None for rate in result.tpr_at_fpr)
