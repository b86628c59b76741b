"""Teaching every cell and seed: equal steps for all, each classifier's scores kept, so that a run can be gone on with.

What is kept are scores of the site's test images, by a name that depends on all that decides them. They name nobody,
but belong to the site.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embhub.diffusion.evaluation import classifier, pretrained
from embhub.diffusion.evaluation.cells import Cell, Labelled, Pictures, runs
from embhub.diffusion.evaluation.networks import Learner
from embhub.diffusion.evaluation.regimes import Arms, Lesson, plan
from embhub.durable import write_atomic
from embhub.errors import UsageError
from embhub.progress import OnProgress, Progress
from embhub.version import __version__

Floats = NDArray[np.float64]
TrainedClassifier = classifier.Classifier | pretrained.Ridge
CLASSES = ("negative", "positive")


@dataclass(frozen=True)
class Taught:
    """`scores` (test images,) of the positive class, for each cell one array a seed.

    `kept` is the share of drawn images that the judge let pass, a figure a seed of each filtered cell.
    """

    scores: dict[Cell, list[Floats]]
    kept: dict[Cell, list[float]]


@dataclass(frozen=True)
class Choices:
    """What all classifiers of a comparison have in common."""

    learner: Learner
    side: int
    mirror: bool = True
    device: str = "cpu"
    real_share: float | None = None


def teach(
    cells: Sequence[Cell],
    pool: Labelled,
    arms: Arms,
    test: Labelled,
    *,
    choices: Choices,
    seeds: int,
    keep: Path | None = None,
    on_progress: OnProgress | None = None,
) -> Taught:
    """Teach every cell and seed. `keep` is the folder of what was taught before; nothing there is taught again."""
    found = Taught({cell: [] for cell in cells}, {cell: [] for cell in cells if cell.regime == "filtered"})
    school = _School(choices, keep)
    for done, (seed, cell) in enumerate(runs(cells, seeds), start=1):

        def judge(drawn: Labelled, cell: Cell = cell, seed: int = seed) -> Floats:
            alone = plan(cell.alone, pool, {}, seed, choices.learner.steps)
            scores = school.scores(alone, seed, drawn.images)
            found.kept[cell].append(float(((scores > 0.5) == (drawn.labels == 1)).mean()))
            return scores

        lessons = plan(
            cell, pool, arms, seed, choices.learner.steps, real_share=choices.real_share, judge=judge
        )  # fmt: skip
        scores = school.scores(lessons, seed, test.images)
        found.scores[cell].append(scores)
        if on_progress:
            area = classifier.area_under_curve(test.labels == 1, scores)
            on_progress(Progress("teaching classifiers", done, len(cells) * seeds, f"AUC {area:.3f}"))
    return found


class _School:
    """Classifiers by their lessons: the last one in memory, the scores of all in a folder."""

    def __init__(self, choices: Choices, keep: Path | None) -> None:
        self._choices, self._keep = choices, keep
        learner = choices.learner
        self._about = [
            __version__, learner.describe(choices.side), learner.steps, learner.batch, learner.rate, choices.side,
            choices.mirror,
        ]  # fmt: skip
        self._last: tuple[str, TrainedClassifier] | None = None

    def scores(self, lessons: Sequence[Lesson], seed: int, images: Pictures) -> Floats:
        """Scores of the positive class of a classifier that had these lessons."""
        name = _name(self._about, lessons, seed)
        place = (
            self._keep and self._keep / f"{hashlib.sha256(f'{name} {digest(images)}'.encode()).hexdigest()[:32]}.npy"
        )
        if place is not None and (known := _read(place, len(images))) is not None:
            return known
        if self._last is None or self._last[0] != name:
            self._last = name, fit(lessons, self._choices, seed=seed)
        scores = score(self._last[1], images, self._choices)
        if place is not None:
            _write(place, scores)
        return scores


def fit(lessons: Sequence[Lesson], choices: Choices, *, seed: int) -> TrainedClassifier:
    """One classifier of negatives and positives, after all its lessons."""
    learner = choices.learner
    if learner.frozen:
        return pretrained.Ridge(pretrained.network(choices.device), lessons)
    learned: classifier.Classifier | None = None
    for lesson in lessons:
        learned = classifier.fit(
            lesson.images.images, lesson.images.labels, classes=CLASSES, steps=lesson.steps,
            rate=learner.rate * lesson.rate, batch=learner.batch, seed=seed, mirror=choices.mirror,
            network=learner.factory, side=choices.side, device=choices.device, chances=lesson.chances, begin=learned,
            held=None if lesson.held is None else (lesson.held.images, lesson.held.labels),
        )  # fmt: skip
    if learned is None:
        raise ValueError("no lesson")
    return learned


def score(learned: TrainedClassifier, images: Pictures, choices: Choices) -> Floats:
    """Scores of the positive class (images,).

    Raises:
        UsageError: the classifier diverged: they are not finite numbers.
    """
    scores = learned.probabilities(images)[:, 1]
    if not np.isfinite(scores).all():
        raise UsageError(
            f"{choices.learner.name} diverged in training: its scores are not finite numbers",
            "add normalization layers to it, or pass fewer --steps",
        )
    return scores


def digest(*arrays: NDArray[np.generic]) -> str:
    """SHA-256 of shapes and numbers."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.shape}{array.dtype}".encode() + np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def _name(about: list[object], lessons: Sequence[Lesson], seed: int) -> str:
    said = [
        [
            digest(one.images.images, one.images.labels, *([one.chances] if one.chances is not None else [])),
            "" if one.held is None else digest(one.held.images, one.held.labels), one.steps, one.rate,
        ]
        for one in lessons
    ]  # fmt: skip
    return hashlib.sha256(json.dumps([*about, said, seed]).encode()).hexdigest()


def _read(path: Path, count: int) -> Floats | None:
    """What was kept, or None: a file that is damaged is taught again."""
    try:
        scores = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    fits = isinstance(scores, np.ndarray) and scores.shape == (count,) and scores.dtype == np.float64
    return scores if fits and bool(np.isfinite(scores).all()) else None


def _write(path: Path, scores: Floats) -> None:
    buffer = io.BytesIO()
    np.save(buffer, scores)
    write_atomic(path, buffer.getvalue(), mode=0o600)
