"""Where a varied phantom is drawn: pixel coordinates under a pose and a smooth deformation, and soft shapes on them.

Geometry is in half-widths of the image: x and y run from -1 to 1, x to the viewer's right, y down. Deformation moves
the coordinates, not the pixels, so every edge stays as sharp as it was drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Random = np.random.Generator

_WAVES = 3


@lru_cache(maxsize=4)
def _grid(side: int) -> tuple[Array, Array]:
    steps = ((np.arange(side, dtype=np.float32) + 0.5) / side * 2 - 1).astype(np.float32)
    across, down = np.meshgrid(steps, steps)
    return across, down


@dataclass(frozen=True)
class Pose:
    """How a body lies in one picture: shifts in half-widths, turn in radians, zoom (above 1 is closer)."""

    shift_x: float = 0.0
    shift_y: float = 0.0
    turn: float = 0.0
    zoom: float = 1.0

    @classmethod
    def drawn(cls, view: Random) -> Pose:
        """A pose of one picture: shifts of .03, a turn of 3 degrees, a zoom of 4 %, as standard deviations."""
        shift_x, shift_y, turn, zoom = view.normal(0, 1, 4).clip(-2, 2) * (0.03, 0.03, 0.05, 0.04)
        return cls(float(shift_x), float(shift_y), float(turn), float(1 + zoom))


class Plane:
    """Coordinates of `side` x `side` pixels under a pose and the deformation of one body."""

    def __init__(self, side: int, pose: Pose, body: Random, amount: float = 0.05) -> None:
        across, down = _grid(side)
        cos, sin = np.float32(np.cos(pose.turn) / pose.zoom), np.float32(np.sin(pose.turn) / pose.zoom)
        x, y = across - np.float32(pose.shift_x), down - np.float32(pose.shift_y)
        x, y = x * cos + y * sin, y * cos - x * sin
        self.side = side
        self.x: Array = x + _waves(x, y, body, amount)
        self.y: Array = y + _waves(x, y, body, amount)

    def ellipse(
        self, cx: float, cy: float, a: float, b: float, turn: float = 0.0, edge: float = 0.03, power: float = 2.0
    ) -> Array:
        """A filled ellipse of half-axes `a` and `b`, 1 inside and 0 outside over an `edge` in half-widths; a `power`
        above 2 makes it squarer."""
        cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
        x, y = self.x - np.float32(cx), self.y - np.float32(cy)
        u, v = np.abs(x * cos + y * sin) / a, np.abs(y * cos - x * sin) / b
        radius = (u**power + v**power + 1e-9) ** (1 / power)
        return ramp((1 - radius) * min(a, b) / edge)

    def stroke(self, start: tuple[float, float], end: tuple[float, float], width: float, bow: float = 0.0) -> Array:
        """A line of `width` half-widths from `start` to `end`, bent by `bow` in its middle, with a soft edge."""
        (ax, ay), (bx, by) = start, end
        length = float(np.hypot(bx - ax, by - ay)) + 1e-6
        ux, uy = (bx - ax) / length, (by - ay) / length
        x, y = self.x - np.float32(ax), self.y - np.float32(ay)
        along, aside = x * ux + y * uy, y * ux - x * uy
        aside = aside - 4 * bow * (along / length) * (1 - along / length)
        beyond = np.maximum(np.maximum(-along, along - length), 0)
        return ramp((width / 2 - np.hypot(aside, beyond)) / max(width / 2, 0.016))

    def texture(self, rng: Random, width: float) -> Array:
        """Smooth noise of unit deviation, its grain about `width` half-widths."""
        noise = blurred(rng.standard_normal((self.side, self.side)).astype(np.float32), width * self.side / 2)
        return np.asarray((noise - noise.mean()) / (noise.std() + 1e-6), np.float32)


def ramp(distance: NDArray[Any]) -> Array:
    """0 to 1 as `distance`, in units of the edge's width, goes from -1/2 to 1/2."""
    return np.clip(distance + 0.5, 0, 1).astype(np.float32)


def blurred(image: Array, width: float) -> Array:
    """A Gaussian blur of `width` pixels over the last two axes of (..., S, S), through the Fourier transform; wraps."""
    side = image.shape[-1]
    cycles = np.fft.fftfreq(side).astype(np.float32)
    kept = np.exp(-2 * (np.pi * width * cycles) ** 2).astype(np.float32)
    spectrum = np.fft.rfft2(image) * kept[:, None] * kept[: side // 2 + 1]
    return np.asarray(np.fft.irfft2(spectrum, s=image.shape[-2:]), np.float32)


def blend(image: Array, value: object, mask: Array) -> Array:
    """`image` (S, S) or (S, S, 3) with `value` (a number, a colour or a picture) laid over it where `mask` is 1."""
    over = mask[..., None] if image.ndim == 3 else mask
    return (image * (1 - over) + np.asarray(value, np.float32) * over).astype(np.float32)


def _waves(x: Array, y: Array, body: Random, amount: float) -> Array:
    """A smooth displacement: a few plane waves longer than the image's half, about `amount` in deviation."""
    total = np.zeros_like(x)
    for _ in range(_WAVES):
        kx, ky = body.normal(0, 1.6, 2)
        total += np.float32(body.normal(0, amount / np.sqrt(_WAVES / 2))) * np.sin(
            np.float32(kx) * x + np.float32(ky) * y + np.float32(body.uniform(0, 6.28))
        )
    return total.astype(np.float32)
