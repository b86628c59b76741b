"""How near is one image to another, once it is turned, scaled, shifted and mirrored as well as it can be?

Every training image is looked at in 98 poses and 121 shifts, and the best of them counts. What is compared so is what
`describing` learned to look at. Pieces of an image, and larger movements, are found by `details`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from embhub.diffusion.copying import details, keypoints
from embhub.diffusion.copying.describing import (
    REACH,
    SIZE_STEP,
    TURN_STEP,
    WINDOW,
    band,
    learn,
    resample,
    small,
    windows,
)

Distances = NDArray[np.float64]

TURNS = tuple(TURN_STEP * step for step in range(-3, 4))
"""Degrees, from -9.6 to 9.6: what is turned by half a step more is still found."""
SIZES = tuple(SIZE_STEP**step for step in range(-3, 4))
"""Factors, from 0.84 to 1.19."""
_SHIFTS = 2 * REACH + 1
_AXES = (
    (_SHIFTS, 1),
    (_SHIFTS, _SHIFTS),
    (len(SIZES), 2 * _SHIFTS**2),
    (len(TURNS), 2 * len(SIZES) * _SHIFTS**2),
)
"""How many steps across, down, in size and in turn the views have, and how far apart in the list of views these are."""
_AT_ONCE = 256


class Gallery:
    """Images to be found again, (M, C, H, W) in [-1, 1]; a descriptor is learned from them first.

    Controls must not be among them: what was learned from an image knows it better than one that was not.
    """

    def __init__(self, references: Tensor, *, seed: int = 0) -> None:
        self._references = small(references)
        self._blobs = keypoints.find(references)
        self._describe = learn(self._references, seed=seed)

    @torch.no_grad()
    def measure(self, images: Tensor, on_part: Callable[[int, int], None] | None = None) -> dict[str, Distances]:
        """Distances (N, M) of images (N, C, H, W) on each measure of `embhub.copies.report.MEASURES`.

        On `whole` a distance is tan(a / 2) of the angle a between two described images at their best alignment: 0 for a
        copy, 1 where they have nothing in common. Its negative logarithm is Fisher's z of their correlation. On
        `details` it falls from 1 with the weight of the details that agree. `on_part` hears how many parts of the work
        are done, and how many there are.
        """
        parts, done = len(self._references) + math.ceil(len(images) / details.IMAGES), 0

        def hear() -> None:
            nonlocal done
            done += 1
            if on_part:
                on_part(done, parts)

        return {
            "whole": _distance(list(self._align(images, hear))),
            "details": details.measure(keypoints.find(images), self._blobs, hear),
        }

    def _align(self, images: Tensor, hear: Callable[[], None]) -> Iterator[Tensor]:
        """For each training image the correlations (N,) with images at their best alignment."""
        asked = self._unit(windows(band(small(images)))[:, 0, 0])
        for reference in self._references:
            views = self._unit(_views(reference[None])).T
            yield torch.cat([_peak(rows @ views) for rows in torch.split(asked, _AT_ONCE)])
            hear()

    def _unit(self, shown: Tensor) -> Tensor:
        return F.normalize(torch.cat(self._describe(shown), 1), dim=1)


def _peak(seen: Tensor) -> Tensor:
    """The height (N,) of the peak of (N, V) values over all views, which may lie between two of them.

    Along shifts, sizes and turns a parabola through the highest value and its two neighbours is followed to its top.
    """
    highest, place = seen.max(1)
    rise = torch.zeros_like(highest)
    for count, step in _AXES:
        within = place // step % count
        inside = (within > 0) & (within < count - 1)
        before, after = (seen.gather(1, (place + side * step).where(inside, place)[:, None])[:, 0] for side in (-1, 1))
        rise += (after - before) ** 2 / (8 * (2 * highest - before - after)).clamp_min(1e-9)
    return highest + rise


def _views(image: Tensor) -> Tensor:
    """Every pose and shift of an image (1, 1, 64, 64): windows (V, 26, 26)."""
    poses = _grid()
    bands = band(resample(image.expand(len(poses), -1, -1, -1), poses))
    return windows(bands, REACH).reshape(-1, WINDOW, WINDOW)


def _grid() -> Tensor:
    """Affine maps (98, 2, 3) of all turns and sizes, plain and mirrored; shifts are those of the window."""
    maps = []
    for turn in TURNS:
        for size in SIZES:
            cos, sin = math.cos(math.radians(turn)) * size, math.sin(math.radians(turn)) * size
            maps += [[[side * cos, -side * sin, 0.0], [sin, cos, 0.0]] for side in (1, -1)]
    return torch.tensor(maps)


def _distance(correlations: list[Tensor]) -> Distances:
    near = torch.stack(correlations, 1).double().clamp(-1, 1)
    found: Distances = ((1 - near) / (1 + near + 1e-12)).clamp_min(0).sqrt().numpy()
    return found
