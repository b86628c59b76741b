"""From scores to the figures of a report: AUC of every cell, what drawn images add to real ones, how real they look."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from embhub.audits.statistics import auc_interval
from embhub.cards import evaluation as document
from embhub.diffusion.evaluation import fidelity, paired
from embhub.diffusion.evaluation.cells import Cell, Labelled, Pictures, choose
from embhub.diffusion.evaluation.classifier import area_under_curve
from embhub.diffusion.evaluation.fitting import Floats, fit
from embhub.diffusion.evaluation.material import Drawn, Source, learned_from
from embhub.diffusion.evaluation.networks import Learner

FEW = 10
"""People of a class under which drawing them anew says too little of what other people would give."""
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
        alone = scores[cell.alone]
        measured = paired.estimate(test.labels == 1, test.patients, each, alone)
        measured = _not_too_sure(measured, each, alone, test)
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
    low, high = auc_interval(measured.mean, *_people(test))
    drawn = measured.patients
    return replace(measured, patients=paired.Interval(min(low, drawn.low), max(high, drawn.high)))


def _not_too_sure(
    measured: paired.Estimate, each: Sequence[Floats], alone: Sequence[Floats], test: Labelled
) -> paired.Estimate:
    """The patients' interval of a difference, widened where drawing them anew cannot show how far it may be off.

    That is where no draw changes the difference, or a class has few people. Then the two AUCs' own intervals are joined
    as if they were independent (MOVER; Zou and Donner 2008, Stat. Med. 27:1693-1702): pairing makes it narrower only.
    """
    drawn = measured.patients
    if drawn.high > drawn.low and min(_people(test)) >= FEW:
        return measured
    positives = test.labels == 1
    areas = [float(np.mean([area_under_curve(positives, one) for one in arm])) for arm in (each, alone)]
    (low, high), (low_alone, high_alone) = (auc_interval(area, *_people(test)) for area in areas)
    below = math.hypot(areas[0] - low, high_alone - areas[1])
    above = math.hypot(high - areas[0], areas[1] - low_alone)
    wide = paired.Interval(min(drawn.low, measured.mean - below), max(drawn.high, measured.mean + above))
    return replace(measured, patients=wide)


def _people(test: Labelled) -> tuple[int, int]:
    """How many people have an image with the finding, and without."""
    with_it, without = (
        len({test.patients[place] for place in np.flatnonzero(test.labels == value)}) for value in (1, 0)
    )
    return with_it, without


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


def arm(name: str, drawn: Drawn, images: Labelled, real: Source, test: Source) -> document.Arm:
    """Counts and origin of drawn images."""
    return document.Arm(
        name=name, images=len(images), positives=int(images.labels.sum()), embeddings=drawn.embeddings,
        learned_from_real=learned_from(drawn, real), learned_from_test=learned_from(drawn, test),
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
