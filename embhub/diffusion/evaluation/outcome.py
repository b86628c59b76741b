"""From scores to the figures of a report: AUC of every cell, what drawn images add to real ones, how real they look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from embhub.audits.statistics import auc_interval
from embhub.cards import evaluation as document
from embhub.diffusion.evaluation import fidelity, paired
from embhub.diffusion.evaluation.cells import Cell, Labelled, Pictures, choose
from embhub.diffusion.evaluation.fitting import Floats, fit
from embhub.diffusion.evaluation.material import Drawn, Source, learned_from
from embhub.diffusion.evaluation.networks import Learner

_DIGITS = 4
Scores = Mapping[Cell, Sequence[Floats]]


def aucs(test: Labelled, scores: Scores) -> tuple[document.Figure, ...]:
    """The AUC of every cell, real images alone first."""
    found = []
    for cell, each in scores.items():
        measured = _cautious(paired.estimate(test.labels == 1, test.patients, each), test)
        found.append(
            document.Figure(
                real=cell.real, arm=cell.arm, drawn=cell.drawn, auc=_round(measured.mean),
                interval=_within(measured.interval), delong=_within(measured.delong),
                patients=_within(measured.patients), seeds=_within(measured.seeds),
                each_seed=tuple(map(_round, measured.each_seed)),
            )
        )  # fmt: skip
    return tuple(found)


def differences(test: Labelled, scores: Scores) -> tuple[document.Difference, ...]:
    """What every cell with real and drawn images has over its real images alone."""
    found = []
    for cell, each in scores.items():
        if not (cell.real and cell.drawn):
            continue
        measured = paired.estimate(test.labels == 1, test.patients, each, scores[cell.alone])
        found.append(
            document.Difference(
                real=cell.real, arm=cell.arm, drawn=cell.drawn, gain=_round(measured.mean),
                interval=_range(measured.interval), delong=_range(measured.delong),
                delong_p=round(measured.p_value, 6), patients=_range(measured.patients),
                seeds=_range(measured.seeds), each_seed=tuple(map(_round, measured.each_seed)),
                outcome=call(measured.interval),
            )
        )  # fmt: skip
    return tuple(found)


def _cautious(measured: paired.Estimate, test: Labelled) -> paired.Estimate:
    """The patients' interval at least as wide as Newcombe's, which keeps a width where no two images are confused."""
    people = [len({test.patients[place] for place in np.flatnonzero(test.labels == value)}) for value in (1, 0)]
    low, high = auc_interval(measured.mean, *people)
    drawn = measured.patients
    return replace(measured, patients=paired.Interval(min(low, drawn.low), max(high, drawn.high)))


def call(interval: paired.Interval) -> document.Outcome:
    """The word for an interval of a difference."""
    if interval.low > 0:
        return "helped"
    return "did harm" if interval.high < 0 else "made no difference that this comparison can show"


def likeness(
    pool: Labelled,
    arms: Mapping[str, Labelled],
    test: Labelled,
    labels: tuple[str, Sequence[str]],
    learner: Learner,
    side: int,
    mirror: bool,
    device: str,
) -> tuple[document.Fidelity, ...]:
    """Drawn images beside real test images of the same class, in the features of a network taught with real ones."""
    chosen = choose(pool, pool.most, 0)
    real = pool.images[chosen]
    judge = fit(real, pool.labels[chosen], learner, seed=0, side=side, mirror=mirror, device=device)
    features = fidelity.Features(judge, real)
    rows = []
    for value, name in ((1, labels[0]), (0, " or ".join(labels[1])[:300])):
        sets: dict[str, Pictures] = {"": pool.images[pool.labels == value]}
        sets |= {arm: one.images[one.labels == value] for arm, one in arms.items()}
        for arm, found in fidelity.compare(features, sets, test.images[test.labels == value]).items():
            rows.append(
                document.Fidelity(
                    arm=arm, label=name, images=found.images, kid=round(found.kid, 5), kid_sd=round(found.kid_sd, 5),
                    subset=found.subset, precision=_round(found.precision), recall=_round(found.recall),
                    diversity=_round(found.diversity),
                )
            )  # fmt: skip
    return tuple(rows)


def group(images: Labelled, has_patients: bool) -> document.Group:
    """Counts of real images."""
    people = len(set(images.patients)) if has_patients else None
    return document.Group(images=len(images), positives=int(images.labels.sum()), patients=people)


def arm(name: str, drawn: Drawn, images: Labelled, real: Source) -> document.Arm:
    """Counts and origin of drawn images."""
    return document.Arm(
        name=name, images=len(images), positives=int(images.labels.sum()), embeddings=drawn.embeddings,
        learned_from_real=learned_from(drawn, real),
    )  # fmt: skip


def _round(value: float) -> float:
    return round(float(value), _DIGITS)


def _range(interval: paired.Interval | None) -> tuple[float, float]:
    low, high = (interval.low, interval.high) if interval is not None else (-1.0, 1.0)  # one seed shows nothing
    return _round(max(-1.0, low)), _round(min(1.0, high))


def _within(interval: paired.Interval | None) -> tuple[float, float]:
    """An interval of an AUC: nothing lies outside 0 and 1."""
    low, high = _range(interval)
    return max(0.0, low), min(1.0, high)
