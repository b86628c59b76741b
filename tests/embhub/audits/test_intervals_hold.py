"""Simulations: 95 % intervals cover the truth at least 93 times in a hundred, and false alarms come at 5 %."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import repeat

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import ndtr
from torch import Tensor

from embhub.audits import orders, rates, statistics
from embhub.audits.attack_figures import measure, rounded
from embhub.audits.verdict import ALPHA
from embhub.diffusion.attacks.evidence import Evidence
from embhub.diffusion.attacks.in_turn import REFERENCES, score_attacked
from embhub.diffusion.attacks.references import score_by_online_lira
from embhub.diffusion.attacks.shadows import Shadows
from tests.support.quick import quick
from tests.support.simulated_audits import DRAWS, PATIENTS, expect_losses, gains, train

ROUNDS = 400
UNITS = 100
Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], tuple[Floats, Floats]]


def independent(shift: float) -> Draw:
    def draw(generator: np.random.Generator, units: int) -> tuple[Floats, Floats]:
        return generator.normal(shift, 1, units), generator.normal(0, 1, units)

    return draw


def measure_truth(members: Floats, nonmembers: Floats, fpr: float = 0.01) -> tuple[float, float]:
    """The AUC, and the true-positive rate at this false-positive rate, of ever so many scores."""
    return _auc(members, nonmembers), float((members > np.quantile(nonmembers, 1 - fpr)).mean())


def covered(
    drawn: Iterable[tuple[Floats, Floats]], fpr: float, truths: Iterable[tuple[float, float]]
) -> dict[str, float]:
    """The share of these scores whose intervals, and whose one-sided limits at 95 %, hold the true AUC and rate."""
    held = []
    for (members, nonmembers), (area, rate) in zip(drawn, truths, strict=False):
        count = rates.Independent(len(members), len(nonmembers))
        seen, sides = _auc(members, nonmembers), (members.tolist(), nonmembers.tolist())
        low, high = statistics.auc_interval(seen, *count)
        least, most = rates.interval_at(*sides, fpr, independent=count)
        highest = statistics.auc_interval(seen, *count, confidence=0.9).high
        upper = rates.upper_limit_at(*sides, fpr, independent=count, level=0.05)
        held.append((low <= area <= high, least <= rate <= most, area <= highest, rate <= upper))
    return dict(zip(("auc", "tpr", "highest auc", "highest tpr"), np.mean(held, axis=0), strict=True))


def _auc(members: Floats, nonmembers: Floats) -> float:
    """Without ties, and fast."""
    ranks = np.concatenate([members, nonmembers]).argsort().argsort()[: len(members)]
    return float((ranks.sum() - len(members) * (len(members) - 1) / 2) / (len(members) * len(nonmembers)))


CASES = [(f"{units} a side, shift {shift}", independent(shift), units, fpr)
         for units, fpr in ((50, 0.1), (100, 0.01)) for shift in (0.0, 1.0, 2.0)]  # fmt: skip


@pytest.mark.parametrize(
    ("draw", "units", "fpr"),
    quick([CASES[0][1:]], thorough=[row[1:] for row in CASES[1:]]),
    ids=[row[0] for row in CASES],
)
def test_intervals_cover_the_truth(draw: Draw, units: int, fpr: float) -> None:
    generator = np.random.default_rng(20_261_121)
    found = covered(
        (draw(generator, units) for _ in range(ROUNDS)),
        fpr,
        repeat(measure_truth(*draw(np.random.default_rng(99), 200_000), fpr)),
    )
    assert min(found.values()) >= 0.93, found


LEAKS = {  # what is gained by how many of the patients, and how much patients differ, beside noise of 1
    "none": (0.0, 1.0, 1.0),
    "all, weakly": (0.38, 1.0, 1.0),
    "all, weakly, of equal patients": (0.38, 1.0, 0.0),
    "a tenth, strongly": (3.8, 0.1, 1.0),
}
IN_TURN = [
    ("lira", "none"), ("lira", "all, weakly"), ("lira", "a tenth, strongly"),
    ("loss", "all, weakly"), ("loss", "all, weakly, of equal patients"),
    ("lira-online", "all, weakly"), ("lira-online", "a tenth, strongly"),
]  # fmt: skip


@pytest.mark.parametrize(("attack", "leak"), quick(IN_TURN[:1], thorough=IN_TURN[1:]))
def test_intervals_of_attacks_in_turn_cover_the_truth(attack: str, leak: str) -> None:
    """Every coin of 100 patients counts, and coverage is what is said: not less, and not much more."""
    rng, audits, areas = np.random.default_rng(20_261_121), [], []
    gain, exposed, effect = LEAKS[leak]
    for _ in range(1_000):
        shadows, without = train(rng, gain=gain, exposed=exposed, effect=effect)
        scores = torch.stack(score_attacked(attack, shadows, without)).numpy()
        scores -= scores.mean(1, keepdims=True)
        inside = shadows.inside[REFERENCES:].numpy()
        audits.append((scores[inside], scores[~inside]))
        if attack == "lira-online":
            areas.append(area_beside_the_same_references(shadows, without, gain=gain, exposed=exposed, effect=effect))
    area, rate = measure_truth(
        np.concatenate([one for one, _ in audits]), np.concatenate([other for _, other in audits])
    )
    found = covered(audits, 0.01, ((each, rate) for each in areas or repeat(area)))
    assert 0.93 <= found["auc"] <= 0.97, found
    assert min(found.values()) >= 0.93, found


def area_beside_the_same_references(shadows: Shadows, without: Tensor, **leak: float) -> float:
    """The AUC of online LiRA on ever so many shadows beside these references: its scores are linear in the losses."""
    mean, noise = expect_losses(**leak)
    turned = [torch.zeros(DRAWS), *torch.eye(DRAWS)]
    count = len(turned)
    scores = score_by_online_lira(
        Evidence(
            torch.cat([mean + each.double() for each in turned]),
            without.repeat(count, 1),
            shadows.losses[:REFERENCES].repeat(1, count, 1),
            ~shadows.inside[:REFERENCES].repeat(1, count),
        )
    )
    start, *moved = scores.numpy().reshape(count, PATIENTS)
    slopes = np.array(moved) - start
    inside = start - gains(leak["gain"], leak["exposed"]) * slopes.sum(0)
    variance = ((noise @ slopes) * slopes).sum(0)
    apart = (inside[:, None] - start) / np.sqrt(variance[:, None] + variance)
    return float(ndtr(apart).mean())


@pytest.mark.thorough
def test_an_interval_that_takes_the_threshold_for_known_would_not() -> None:
    """The intervals that version 1 printed: the test above can fail."""
    draw, held = independent(2.0), 0
    _, rate = measure_truth(*draw(np.random.default_rng(99), 200_000))
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
    """The rule of the quick suite on what is published, many times: p-values of two digits."""
    alarms = 0
    generator = np.random.default_rng(20_261_121)
    seen: dict[float, float] = {}
    for _ in range(rounds):
        found = []
        for _ in ("loss-difference", "loss"):
            scores = generator.random(sum(sides))
            members, nonmembers = scores[: sides[0]], scores[sides[0] :]
            area = statistics.auc(members, nonmembers)  # without ties p follows from it
            if area not in seen:
                seen[area] = rounded(statistics.p_value(members, nonmembers), 2)
            found.append(seen[area])
        alarms += found[0] <= ALPHA or found[1] <= ALPHA
    assert 0.04 <= alarms / rounds <= 0.05 + 3 * (0.05 * 0.95 / rounds) ** 0.5


def test_rates_count_every_coin() -> None:
    """26 patients in or out of each of eight shadows by coins: some 104 fell out, and carry a rate at 1 %."""
    generator = np.random.default_rng(1)
    coins = generator.random(8 * 26) < 0.5
    scores = generator.normal(size=coins.size)
    result = measure(name="lira-shadows", models=8, order=orders.write(scores[coins].tolist(), scores[~coins].tolist()))
    assert (~coins).sum() >= 100
    assert [rate.fpr for rate in result.tpr_at_fpr if rate.tpr is not None] == [0.1, 0.01]
