"""What a copy check measures of an image beside the same gallery is measured once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import ClassVar

import numpy as np
import pytest
import torch

from embhub.diffusion.copying import comparing
from embhub.diffusion.copying.matching import Distances, Gallery


class MeasuredOnce(Gallery):
    """A gallery that keeps the distances of each image that it was asked about.

    They depend on that image and on the gallery, and on neither the other images asked nor the threshold. Only images
    that were not seen are measured, by the real gallery. So tests share planted copies and controls.
    """

    galleries: ClassVar[dict[str, Gallery]] = {}
    rows: ClassVar[dict[tuple[str, str], dict[str, Distances]]] = {}

    def __init__(self, references: torch.Tensor, *, seed: int = 0) -> None:
        self._name = f"{seed} {_digest(references)}"
        if self._name not in self.galleries:
            self.galleries[self._name] = Gallery(references, seed=seed)

    def measure(self, images: torch.Tensor, on_part: Callable[[int, int], None] | None = None) -> dict[str, Distances]:
        names = [(self._name, _digest(image)) for image in images]
        unseen = {name: row for row, name in enumerate(names) if name not in self.rows}
        if unseen:
            tables = self.galleries[self._name].measure(images[list(unseen.values())], on_part)
            for row, name in enumerate(unseen):
                self.rows[name] = {measure: table[row] for measure, table in tables.items()}
        return {measure: np.stack([self.rows[name][measure] for name in names]) for measure in self.rows[names[0]]}


@pytest.fixture(scope="module", autouse=True)
def measured_once() -> Iterator[None]:
    """Whoever compares here, the command too, asks such a gallery."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparing, "Gallery", MeasuredOnce)
        yield


def _digest(images: torch.Tensor) -> str:
    return hashlib.sha256(images.contiguous().numpy().tobytes()).hexdigest()
