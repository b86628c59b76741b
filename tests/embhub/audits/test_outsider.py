"""An outsider with the outbox and all images, whose labels are random: what do reports tell of who was trained on?

The outsider is given the exact score that every attack on the file gives to every image. One who also knows everybody
else's side learns more from the AUC and the counts (docs/adr/0059-coins-of-an-audit.md), and little from the p-value.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from embhub.audits import statistics
from embhub.audits.attack_figures import IN_TURN, measure_file
from embhub.audits.report import SUITES, AuditReport, Design, Group, build
from tests.support.made_up_scores import make_guesses
from tests.support.quick import quick

ON_FILE = [name for name in SUITES["thorough"] if not name.endswith(IN_TURN)]
SHADOWS = 4
Floats = NDArray[np.float64]


def audit(scores: dict[str, Floats], inside: NDArray[np.bool_], rng: np.random.Generator) -> bytes:
    """A report as it leaves the site: attacks on the file, and one on shadows, whose coins are tossed anew."""
    count = len(inside)
    coins = rng.random((SHADOWS, count)) < 0.5
    images = scores["loss"] + rng.normal(size=(SHADOWS, count))  # of a shadow, an image's own difficulty and chance
    pairs = {"lira-shadows": (images[coins], images[~coins])}
    pairs |= {name: (found[inside], found[~inside]) for name, found in scores.items()}
    scored = {name: (members.tolist(), others.tolist()) for name, (members, others) in pairs.items()}
    return build(
        artifact_digest="a" * 64, base_digest=None, suite="thorough",
        guesses=make_guesses(scored), scores=scored,
        members=Group(units=int(inside.sum())), nonmembers=Group(units=int((~inside).sum())),
        design=Design(shadows=SHADOWS, subject="algorithm"),
    ).to_bytes()  # fmt: skip


def guess(reports: Sequence[bytes], scores: dict[str, Floats]) -> Floats:
    """How sure the outsider is of each image: every figure says how its attack leans, and so does an order."""
    leaning = np.zeros(len(scores["loss"]))
    for data in reports:
        for result in AuditReport.parse(data).attacks:
            if result.name in scores:
                leaning += (result.auc - 0.5) * standardised(scores[result.name])
            else:  # the labels at the places where this image's difficulty would put it
                labels = np.array([letter == "m" for letter in str(result.order) if letter in "mn"], dtype=float)
                place = np.argsort(np.argsort(-scores["loss"])) * (len(labels) - SHADOWS) // max(1, len(leaning) - 1)
                leaning += 0.01 * np.array([labels[start : start + SHADOWS].mean() - 0.5 for start in place])
    return leaning


def standardised(scores: Floats) -> Floats:
    ranks = np.argsort(np.argsort(scores)).astype(float)
    return (ranks - ranks.mean()) / ranks.std()


def recovered(side: int, reports: int, trials: int) -> tuple[float, float]:
    """Mean AUC of membership from the reports; and from two digits of every attack on the file, as a comparison."""
    found, from_all = [], []
    for seed in range(trials):
        rng = np.random.default_rng([seed, side])
        inside = rng.permutation(2 * side) < side
        scores = {name: rng.normal(size=2 * side) for name in ON_FILE}
        sent = []
        for _ in range(reports):  # each with a seed of its own, which moves the scores a little
            noisy = {name: values + 0.1 * rng.normal(size=2 * side) for name, values in scores.items()}
            sent.append(audit(noisy, inside, rng))
        told = guess(sent, scores)
        found.append(statistics.auc(told[inside], told[~inside]))
        areas = {name: round(statistics.auc(values[inside], values[~inside]), 2) for name, values in scores.items()}
        told = sum(((area - 0.5) * standardised(scores[name]) for name, area in areas.items()), np.zeros(2 * side))
        from_all.append(statistics.auc(told[inside], told[~inside]))
    return float(np.mean(found)), float(np.mean(from_all))


@pytest.mark.parametrize(
    ("side", "reports", "trials"),
    quick([(30, 1, 40), (30, 8, 20)], thorough=[(60, 1, 40), (60, 8, 20), (300, 1, 20), (300, 8, 10)]),
)
def test_reports_hardly_tell_who_was_trained_on(side: int, reports: int, trials: int) -> None:
    found, from_all = recovered(side, reports, trials)
    assert found < 0.6
    if side == 30:
        assert from_all > 0.7, "an AUC of each attack would have told: the test sees what there is to see"


def test_the_p_value_is_the_same_with_and_without_a_patient_where_nothing_was_found() -> None:
    """Of two digits, it differed for nearly every patient: who knows all other sides then knows the last one."""
    rng, moved = np.random.default_rng(5), 0
    for _ in range(200):
        scores, inside = rng.normal(size=60), rng.permutation(60) < 30
        other = inside.copy()
        other[rng.integers(60)] ^= True
        first, second = (
            measure_file(
                name="loss-difference", members=scores[side].tolist(), nonmembers=scores[~side].tolist(), units=(30, 30)
            ).p_value
            for side in (inside, other)
        )
        moved += first != second
    assert moved <= 20
