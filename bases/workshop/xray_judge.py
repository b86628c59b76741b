"""A judge of chest X-rays: normal, bacterial or viral pneumonia, trained on patients that no base has seen."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bases.workshop import xray
from bases.workshop.judge import Images, reconstructed
from embhub.diffusion.evaluation import classifier

Judge = Callable[[Images], NDArray[np.float64]]


@lru_cache(maxsize=2)
def xray_judge_for(data: Path, base: str | Path, *, members: int = 3, steps: int = 400) -> Judge:
    """A judge that gives the probabilities (N, 3), in the order of `xray.LABELS`, of uint8 images (N, H, W, 3).

    Images are read at 64 x 64.

    The mean of `members` classifiers, trained on the `judge` part and on copies of it through the autoencoder of
    `base`: one trained on plain images alone misjudges whatever came out of a decoder. Raises UsageError where the
    data is not there.
    """
    films = xray.read(data, "judge")
    images = colour(films.images)
    both = np.concatenate([images, reconstructed(images, base)])
    labels = np.concatenate([films.labels] * 2)
    models = [
        classifier.fit(both, labels, classes=xray.LABELS, steps=steps, seed=seed, noise=0.05) for seed in range(members)
    ]
    return lambda pictures: np.mean([model.probabilities(pictures) for model in models], axis=0)


@lru_cache(maxsize=1)
def feature_network(data: Path) -> classifier.Classifier:
    """A classifier of the labels on the `judge` part, whose features tell how near drawn films come to real ones."""
    films = xray.read(data, "judge")
    return classifier.fit(colour(films.images), films.labels, classes=xray.LABELS, steps=400, seed=11)


def colour(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(N, H, W) to (N, H, W, 3)."""
    return np.repeat(grey[..., None], 3, axis=3)
