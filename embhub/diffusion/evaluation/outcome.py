"""From scores to the figures of a report: AUC of every cell, and what drawn images have over each control."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from embhub.audits.statistics import auc_interval
from embhub.cards import evaluation as document
from embhub.diffusion.evaluation import paired
from embhub.diffusion.evaluation import worth as worths
from embhub.diffusion.evaluation.cells import STOPPED, Cell, Labelled, choose
from embhub.diffusion.evaluation.classifier import area_under_curve
from embhub.diffusion.evaluation.fitting import Floats, Taught
from embhub.diffusion.evaluation.material import Drawn, Source, learned_from

FEW = 10
"""People of a class under which drawing them anew says too little of what other people would give."""
_DIGITS = 4


def aucs(test: Labelled, taught: Taught, sets: Mapping[str, int]) -> tuple[document.Figure, ...]:
    """The AUC of every cell, real images alone first. `sets` says how many embeddings an arm has."""
    found = []
    for cell, each in taught.scores.items():
        estimated = paired.estimate(test.labels == 1, test.patients, each, groups=[_group(cell, each, sets)])
        measured = _cautious(estimated, test)
        kept = taught.kept.get(cell)
        found.append(
            document.Figure(
                real=cell.real, arm=cell.arm, drawn=cell.drawn, regime=cell.regime,
                kept=_round(float(np.mean(kept))) if kept else None, auc=_round(measured.mean),
                interval=_within(measured.interval), delong=_within(measured.delong),
                patients=_within(measured.patients), seeds=_within(measured.seeds),
                each_seed=tuple(map(_round, measured.each_seed)),
            )
        )  # fmt: skip
    return tuple(found)


def differences(test: Labelled, taught: Taught, sets: Mapping[str, int]) -> tuple[document.Difference, ...]:
    """What every cell with drawn images has over its controls, with p-values adjusted for all of these rows."""
    rows, p_values = [], []
    for cell, control, name in contrasts(list(taught.scores), next(iter(sets), "")):
        each, other = taught.scores[cell], taught.scores[control]
        groups = [_group(one, each, sets) for one in (cell, control)]
        measured = paired.estimate(test.labels == 1, test.patients, each, other, groups=groups)
        measured = _not_too_sure(measured, each, other, test)
        p_values.append(measured.p_both)
        rows.append(
            document.Difference(
                real=cell.real, arm=cell.arm, drawn=cell.drawn, regime=cell.regime, over=name,
                gain=_round(measured.mean), p=round(measured.p_both, 6),
                interval=_range(measured.interval), delong=_range(measured.delong),
                delong_p=round(measured.p_value, 6), patients=_range(measured.patients),
                seeds=_range(measured.seeds), each_seed=tuple(map(_round, measured.each_seed)),
                outcome=call(measured.interval), ceiling=_ceiling(test, taught, cell, other),
            )
        )  # fmt: skip
    adjusted = paired.holm(p_values)
    return tuple(row.model_copy(update={"p_holm": round(p, 6)}) for row, p in zip(rows, adjusted, strict=True))


def contrasts(cells: Sequence[Cell], first: str) -> Iterator[tuple[Cell, Cell, str]]:
    """Each cell with drawn images, what it is compared with, and the name of that.

    All are compared with real images alone; the `first` arm with its normals and with every other arm as well, in the
    same regime and with as many images.
    """
    arms = dict.fromkeys(cell.arm for cell in cells if cell.arm)
    for cell in cells:
        if not cell.drawn or cell.regime == "normals":
            continue
        others = [(cell.alone, document.REAL_ALONE), (replace(cell.alone, regime=STOPPED), document.STOPPED_EARLY)]
        if cell.arm == first:
            others.append((replace(cell, regime="normals"), document.NORMALS))
            others += [(replace(cell, arm=arm), arm) for arm in arms if arm not in (first, document.CEILING)]
        yield from ((cell, control, name) for control, name in others if control in cells)


def _ceiling(test: Labelled, taught: Taught, cell: Cell, control: Sequence[Floats]) -> float | None:
    """What the real images behind the embedding have over the same control, at as many real images as `cell` has."""
    wanted = document.CEILING, cell.real
    best = next((each for one, each in taught.scores.items() if (one.arm, one.real) == wanted), None)
    if best is None or cell.arm == document.CEILING:
        return None
    positives = test.labels == 1
    mean, other = (np.mean([area_under_curve(positives, one) for one in each]) for each in (best, control))
    return _round(float(mean - other))


def worth(test: Labelled, taught: Taught, pool: Labelled, sets: Mapping[str, int]) -> document.Worth | None:
    """What the most generated images of the first arm are worth alone; None where they, or real ones, are not alone."""
    first = next(iter(sets), "")
    curve = {_people_a_class(pool, one.real, len(each)): each for one, each in taught.scores.items() if _is_real(one)}
    mine = [cell for cell in taught.scores if (cell.arm, cell.real, cell.regime) == (first, 0, "mixed")]
    if not curve or not mine:
        return None
    cell = max(mine, key=lambda one: one.drawn)
    each = taught.scores[cell]
    found = worths.in_patients(test.labels == 1, test.patients, curve, each, groups=_group(cell, each, sets))
    return document.Worth(
        drawn=cell.drawn, value=_round(found.value), interval=(_round(found.low), _round(found.high)),
        most=_round(found.most),
    )  # fmt: skip


def _is_real(cell: Cell) -> bool:
    return bool(cell.real) and not cell.drawn and cell.regime == "mixed"


def _people_a_class(pool: Labelled, count: int, seeds: int) -> float:
    """Patients a class among so many real images, mean over the seeds."""
    found = []
    for seed in range(seeds):
        places = choose(pool, count, seed)
        people = {(pool.patients[place], int(pool.labels[place])) for place in places}
        found.append(len(people) / 2)
    return float(np.mean(found))


def _group(cell: Cell, each: Sequence[Floats], sets: Mapping[str, int]) -> list[int]:
    """Which embedding each seed used."""
    return [seed % sets.get(cell.arm, 1) for seed in range(len(each))]


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


def group(images: Labelled, has_patients: bool) -> document.Group:
    """Counts of real images."""
    people = len(set(images.patients)) if has_patients else None
    return document.Group(images=len(images), positives=int(images.labels.sum()), patients=people)


def arm(name: str, drawn: Sequence[Drawn], real: Source, test: Source, positive: str) -> document.Arm:
    """Counts and origin of the drawn images of all embeddings of an arm."""
    labels = [label for one in drawn for label in one.source.labels]
    named = {digest for one in drawn for digest in one.embeddings}
    if any(one.redrawn for one in drawn):  # patients' images of which a part was drawn anew: of no embedding alone
        named = set()
    return document.Arm(
        name=name, images=len(labels), positives=labels.count(positive), sets=len(drawn),
        embeddings=tuple(sorted(named)),
        learned_from_real=_any(learned_from(one, real) for one in drawn),
        learned_from_test=_any(learned_from(one, test) for one in drawn),
    )  # fmt: skip


def ceiling(images: Labelled) -> document.Arm:
    """Counts of the arm of real images behind the embedding, and generated normals."""
    return document.Arm(name=document.CEILING, images=len(images), positives=int(images.labels.sum()))


def _any(found: Iterable[bool | None]) -> bool | None:
    """Whether one of them is true; None where that is not known."""
    known = list(found)
    return True if True in known else None if None in known else False


def _round(value: float) -> float:
    return round(float(value), _DIGITS)


def _range(interval: paired.Interval | None) -> tuple[float, float]:
    low, high = (interval.low, interval.high) if interval is not None else (-1.0, 1.0)  # one seed shows nothing
    return _round(max(-1.0, low)), _round(min(1.0, high))


def _within(interval: paired.Interval | None) -> tuple[float, float]:
    """An interval of an AUC: nothing lies outside 0 and 1."""
    low, high = _range(interval)
    return max(0.0, low), min(1.0, high)
