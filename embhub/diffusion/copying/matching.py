"""How near is one image to another, once it is turned, scaled, shifted and mirrored as well as it can be?

Every training image is looked at in 98 poses and 121 shifts, and the best of them counts: of the whole image, and of
each of its halves. What is compared is what `describing` learned to look at.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from embhub.diffusion.copying.describing import (
    REACH,
    SIZE_STEP,
    TURN_STEP,
    WINDOW,
    Descriptor,
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
        self._describe = learn(self._references, seed=seed)

    @torch.no_grad()
    def measure(self, images: Tensor, on_image: Callable[[int, int], None] | None = None) -> dict[str, Distances]:
        """Distances (N, M) of images (N, C, H, W) on each measure of `embhub.copies.report.MEASURES`.

        A distance is tan(a / 2) of the angle a between two described images at their best alignment: 0 for a copy, 1
        where they have nothing in common. Its negative logarithm is Fisher's z of their correlation. `on_image` hears
        how many of the M images have been searched, and M.
        """
        asked = _Described(self._describe, windows(band(small(images)))[:, 0, 0])
        chunks = torch.split(torch.arange(asked.count), _AT_ONCE)
        whole, parts = [], []
        for done, reference in enumerate(self._references, start=1):
            views = _Described(self._describe, _views(reference[None]))
            near = torch.cat([asked.only(rows).best(views) for rows in chunks])
            whole.append(near[:, 0])
            parts.append(near[:, 1:].amax(1))
            if on_image:
                on_image(done, len(self._references))
        return {"whole": _distance(whole), "parts": _distance(parts)}


class _Described:
    """Blocks of described windows, and the inverse length of the whole and of each half."""

    def __init__(self, describe: Descriptor, shown: Tensor) -> None:
        self._blocks = describe(shown)
        self._scale = _regions([(block * block).sum(1) for block in self._blocks]).clamp_min(1e-12).rsqrt()

    @property
    def count(self) -> int:
        return len(self._blocks[0])

    def only(self, rows: Tensor) -> _Described:
        part = _Described.__new__(_Described)
        part._blocks = [block[rows] for block in self._blocks]
        part._scale = self._scale[:, rows]
        return part

    def best(self, views: _Described) -> Tensor:
        """The highest correlation (N, 5) with any view: of the whole, then of the halves above, below, left, right."""
        products = [mine @ theirs.T for mine, theirs in zip(self._blocks, views._blocks, strict=True)]
        top, bottom = products[0] + products[1], products[2] + products[3]
        left, right = products[0] + products[2], products[1] + products[3]
        regions = (top + bottom, top, bottom, left, right)
        found = [_peak(region * scale) for region, scale in zip(regions, views._scale, strict=True)]
        return (torch.stack(found) * self._scale).T


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


def _regions(blocks: list[Tensor]) -> Tensor:
    """Sums over the whole and the four halves, (5, N), of one figure (N,) for each quarter."""
    upper_left, upper_right, lower_left, lower_right = blocks
    return torch.stack(
        [
            upper_left + upper_right + lower_left + lower_right,
            upper_left + upper_right,
            lower_left + lower_right,
            upper_left + lower_left,
            upper_right + lower_right,
        ]
    )


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
