"""A judge of taught words: which shape, tone, place and side a phantom shows, or that it is normal."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bases.workshop.judge import Images, blurred, reconstructed
from embhub.diffusion.evaluation import classifier
from embhub.phantoms.drawing import draw
from embhub.phantoms.findings import PLACES, SHAPES, SIDES, TONES, Finding, random_finding

WORDS = ("normal", *TONES, *SHAPES, *PLACES, *SIDES)
Reader = Callable[[Images], list[frozenset[str]]]


def words_of(finding: Finding | None) -> frozenset[str]:
    """The words of `WORDS` that hold for an image with this finding, or none."""
    if finding is None:
        return frozenset({"normal"})
    return frozenset({finding.tone, finding.shape, finding.place, finding.side})


@lru_cache(maxsize=4)
def reader_for(modality: str, base: str | Path, *, size: int = 1600, steps: int = 500, seed: int = 11) -> Reader:
    """A judge that reads the words off uint8 images (N, 64, 64, 3) of one modality.

    Of tones, shapes, places and sides it says the likeliest each, or `normal` alone. Trained on `size` fresh phantoms
    with one finding or none, blurred and sent through the autoencoder of `base` as well.
    """
    rng = np.random.default_rng(seed)
    shown = [None if index % 5 == 0 else random_finding(modality, rng) for index in range(size)]
    images = np.stack([draw(modality, finding, rng).image for finding in shown])
    marks = np.array([[word in words_of(finding) for word in WORDS] for finding in shown], np.int64)
    model = classifier.fit(
        np.concatenate([images, blurred(images), reconstructed(images, base)]),
        np.concatenate([marks] * 3),
        classes=WORDS,
        steps=steps,
        seed=seed,
        width=20,
        mirror=False,
    )

    def read(pictures: Images) -> list[frozenset[str]]:
        return [_likeliest(row) for row in model.probabilities(pictures)]

    return read


def _likeliest(row: NDArray[np.float64]) -> frozenset[str]:
    chance = dict(zip(WORDS, row, strict=True))
    if chance["normal"] > 0.5:
        return frozenset({"normal"})
    return frozenset(max(group, key=chance.__getitem__) for group in (TONES, SHAPES, PLACES, SIDES))


def asked(prompt: str) -> frozenset[str]:
    """The words of `WORDS` that a prompt says."""
    return frozenset(prompt.replace(",", " ").split()) & frozenset(WORDS)
