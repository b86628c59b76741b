"""Teaching every cell and seed: equal steps for all, each classifier's scores kept, so that a run can be gone on with.

What is kept are scores of the site's test images, by a name that depends on all that decides them. They name nobody,
but belong to the site.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embhub.diffusion.evaluation import classifier
from embhub.diffusion.evaluation.cells import Cell, Labelled, Pictures, runs, training_set
from embhub.diffusion.evaluation.networks import Learner
from embhub.durable import write_atomic
from embhub.progress import OnProgress, Progress

Floats = NDArray[np.float64]
CLASSES = ("negative", "positive")


def teach(
    cells: Sequence[Cell],
    pool: Labelled,
    arms: Mapping[str, Labelled],
    test: Labelled,
    *,
    learner: Learner,
    seeds: int,
    side: int,
    mirror: bool = True,
    device: str = "cpu",
    keep: Path | None = None,
    on_progress: OnProgress | None = None,
) -> dict[Cell, list[Floats]]:
    """Scores (test images,) of the positive class, for each cell one array a seed.

    `keep` is the folder of what was taught before; nothing there is taught again.
    """
    found: dict[Cell, list[Floats]] = {cell: [] for cell in cells}
    about = [learner.describe(side), learner.steps, learner.batch, learner.rate, side, mirror, digest(test.images)]
    for done, (seed, cell) in enumerate(runs(cells, seeds), start=1):
        images, labels = training_set(cell, pool, arms, seed)
        place = keep and keep / f"{_name(about, images, labels, seed)}.npy"
        if place is None or (scores := _read(place, len(test))) is None:
            learned = fit(images, labels, learner, seed=seed, side=side, mirror=mirror, device=device)
            scores = learned.probabilities(test.images)[:, 1]
            if place is not None:
                _write(place, scores)
        found[cell].append(scores)
        if on_progress:
            area = classifier.area_under_curve(test.labels == 1, scores)
            on_progress(Progress("teaching classifiers", done, len(cells) * seeds, f"AUC {area:.3f}"))
    return found


def fit(
    images: Pictures,
    labels: NDArray[np.int64],
    learner: Learner,
    *,
    seed: int,
    side: int,
    mirror: bool,
    device: str,
) -> classifier.Classifier:
    """One classifier of negatives and positives."""
    return classifier.fit(
        images,
        labels,
        classes=CLASSES,
        steps=learner.steps,
        rate=learner.rate,
        batch=learner.batch,
        seed=seed,
        mirror=mirror,
        network=learner.factory,
        side=side,
        device=device,
    )


def digest(*arrays: NDArray[np.generic]) -> str:
    """SHA-256 of shapes and numbers."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.shape}{array.dtype}".encode() + np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def _name(about: list[object], images: Pictures, labels: NDArray[np.int64], seed: int) -> str:
    return hashlib.sha256(json.dumps([*about, digest(images, labels), seed]).encode()).hexdigest()[:32]


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
