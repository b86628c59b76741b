"""Values of one series at the pixels of another: linear between voxels, by where both lie in the patient (mm).

Beyond half a voxel outside the outermost voxels there is nothing; within it the outermost value holds. SimpleITK's
resampling with `sitkLinear` does the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Vector = tuple[float, float, float]
_UNEVEN = 0.05
"""Share of the distance between slices by which one may lie elsewhere than even distances put it."""

_OTHER = 0.01
"""Share of a pixel by which those of a slice may differ from those of the first."""


@dataclass(frozen=True)
class Grid:
    """Pixels of a picture: the centre of the first, and the steps to the next column and to the next row, in mm."""

    corner: Vector
    along: Vector
    down: Vector

    @classmethod
    def of(cls, corner: Floats, along: Floats, down: Floats) -> Grid:
        """Of three arrays of three numbers."""
        return cls(*((float(x), float(y), float(z)) for x, y, z in (corner, along, down)))


def stack(grids: Sequence[Grid]) -> Floats:
    """The matrix (4 x 4) from slice, row and column to mm, of two slices or more in their order, of which the first and
    the last lie where it says. They may be sheared, as those of a tilted gantry are."""
    first, last = grids[0], grids[-1]
    matrix = np.eye(4)
    matrix[:3, 0] = (np.array(last.corner) - np.array(first.corner)) / (len(grids) - 1)
    matrix[:3, 1], matrix[:3, 2], matrix[:3, 3] = first.down, first.along, first.corner
    return matrix


def is_even(grids: Sequence[Grid]) -> bool:
    """Whether all slices have the same directions and pixels, and lie where `stack` has them. So do those of a part
    then: its slices lie at most twice as far off."""
    matrix = stack(grids)
    there = matrix[:3, 3] + np.arange(len(grids))[:, None] * matrix[:3, 0]
    off = np.linalg.norm(np.array([grid.corner for grid in grids]) - there, axis=1)
    steps = np.array([(grid.down, grid.along) for grid in grids])
    same = np.allclose(steps, steps[0], rtol=0, atol=_OTHER * float(np.abs(steps[0]).max()))
    return same and float(off.max()) <= _UNEVEN * float(np.linalg.norm(matrix[:3, 0]))


def locate(grid: Grid, columns: NDArray[Any], rows: NDArray[Any], matrix: Floats) -> Floats:
    """Where these pixels of a picture lie among the voxels of `matrix`: (3, rows, columns), counted from 0.

    Raises:
        numpy.linalg.LinAlgError: the voxels have no volume.
    """
    inverse = np.linalg.inv(matrix)
    corner, along, down = (inverse[:3, :3] @ np.array(part) for part in (grid.corner, grid.along, grid.down))
    corner = corner + inverse[:3, 3]
    return np.asarray(corner[:, None, None] + along[:, None, None] * columns + down[:, None, None] * rows[:, None])


def inside(places: Floats, shape: Sequence[int]) -> NDArray[np.bool_]:
    """Which places are within half a voxel of the voxels."""
    ends = np.array(shape[:3], dtype=np.float64)[:, None, None]
    return np.asarray(((places >= -0.5) & (places < ends - 0.5)).all(axis=0))


def box(places: Floats, shape: Sequence[int]) -> tuple[slice, ...]:
    """The part of a volume between whose voxels all places lie, of two voxels at least where there are as many."""
    ranges = []
    for along, number in zip(places, shape, strict=False):
        low = min(max(0, int(np.floor(along.min()))), max(0, number - 2))
        ranges.append(slice(low, min(number, max(low + 2, int(np.ceil(along.max())) + 1))))
    return tuple(ranges)


def interpolate(voxels: NDArray[Any], places: Floats) -> Floats:
    """Values at places (3, rows, columns). In the `voxels` what is not finite becomes 0; they are not copied."""
    from scipy.ndimage import map_coordinates

    for layer in voxels:  # one at a time, as are the marks on the way
        np.nan_to_num(layer, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    return np.asarray(map_coordinates(voxels, places, np.float64, order=1, mode="nearest"))
