"""The bodies that findings are drawn into: a chest film, an axial prostate slice, a stained tissue tile, all 64 x 64.

Geometry is in half-widths of the image: x and y run from -1 to 1, x to the viewer's right, y down. A scene takes two
random generators: `body` decides what belongs to the patient and `view` what changes between two pictures of one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

SIZE = 64
Array = NDArray[np.float32]
Random = np.random.Generator

_STEPS = ((np.arange(SIZE, dtype=np.float32) + 0.5) / SIZE * 2 - 1).astype(np.float32)
_X, _Y = np.meshgrid(_STEPS, _STEPS)


class Canvas:
    """Pixel coordinates under a pose (a small shift and turn), and the two shapes everything is made of."""

    def __init__(self, shift_x: float = 0.0, shift_y: float = 0.0, turn: float = 0.0) -> None:
        cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
        x, y = _X - np.float32(shift_x), _Y - np.float32(shift_y)
        self.x: Array = x * cos + y * sin
        self.y: Array = -x * sin + y * cos

    @classmethod
    def posed(cls, view: Random) -> Canvas:
        """A canvas under the pose of one picture: about half a pixel of shift, a degree of turn."""
        return cls(view.normal(0, 0.015), view.normal(0, 0.015), view.normal(0, 0.015))

    def ellipse(self, cx: float, cy: float, a: float, b: float, turn: float = 0.0, soft: float = 0.05) -> Array:
        """A filled ellipse of half-axes `a` and `b`: 1 inside, 0 outside, an edge of width `soft` of its size."""
        cos, sin = np.cos(turn), np.sin(turn)
        u = ((self.x - cx) * cos + (self.y - cy) * sin) / a
        v = (-(self.x - cx) * sin + (self.y - cy) * cos) / b
        inside = (1 - np.sqrt(u * u + v * v + 1e-6)) / soft * min(a, b) / 0.5 + 0.5
        return np.asarray(np.clip(inside, 0, 1), np.float32)

    def half(self, side: int) -> Array:
        """1 on the viewer's left (`side` 0) or right (`side` 1) of the midline."""
        return np.asarray(np.clip((1 if side else -1) * self.x / 0.06 + 0.5, 0, 1), np.float32)


def texture(rng: Random, width: float) -> Array:
    """Smooth noise of unit deviation, its grain about `width` pixels."""
    noise = gaussian_filter(rng.standard_normal((SIZE, SIZE)).astype(np.float32), width, mode="wrap")
    return np.asarray(noise / (noise.std() + 1e-6), np.float32)


def blend(image: Array, value: object, mask: Array) -> Array:
    """`image` with `value` (a number, a colour or a picture) laid over it where `mask` is 1."""
    over = mask[..., None] if image.ndim == 3 else mask
    return (image * (1 - over) + np.asarray(value, np.float32) * over).astype(np.float32)


@dataclass(frozen=True)
class Scene:
    """A body to draw findings into: grey (64, 64) or colour (64, 64, 3), values 0 to 1.

    `tissue` is where a finding may show, `halves` what a level fills on either side, `span` the top and bottom of the
    organ, `centre(place, side, rng)` where a finding sits, `shade(tone, rng)` its value or colour, `finish` what lies
    over it, `grain` the direction in radians that long findings follow, 0 for across.
    """

    image: Array
    tissue: Array
    halves: tuple[Array, Array]
    span: tuple[float, float]
    centre: Callable[[str, int, Random], tuple[float, float]]
    shade: Callable[[str, Random], object]
    finish: Callable[[Array], Array]
    grain: float = 0.0


def _grey(tone: str, rng: Random) -> object:
    return rng.uniform(0.02, 0.12) if tone == "dark" else rng.uniform(0.9, 1.0)


def chest(canvas: Canvas, body: Random) -> Scene:
    """A frontal film: two dark lungs under ribs, spine and heart."""
    image = np.full((SIZE, SIZE), 0.05, np.float32)
    image = blend(image, 0.6 + 0.05 * canvas.y, canvas.ellipse(0, 0.25, 0.97 + body.normal(0, 0.02), 1.2, 0, 0.1))
    width, height, level = 0.36 + body.normal(0, 0.015), 0.68 + body.normal(0, 0.03), -0.05 + body.normal(0, 0.03)
    middles = [sign * (0.45 + body.normal(0, 0.015)) for sign in (-1, 1)]
    lungs = []
    for sign, middle in zip((-1, 1), middles, strict=True):
        lung = canvas.ellipse(middle, level, width, height, sign * (-0.12 + body.normal(0, 0.02)), 0.08)
        image = blend(image, 0.3 + 0.02 * texture(body, 3.0), lung)
        lungs.append(lung)
    both = np.clip(lungs[0] + lungs[1], 0, 1)
    wave = np.sin((canvas.y + 0.35 * np.abs(canvas.x) ** 1.5) * (16 + body.normal(0, 0.6)) + body.uniform(0, 6.28))
    image = (image + 0.12 * np.clip(wave - 0.4, 0, 1) * both).astype(np.float32)
    spine = 0.7 * canvas.ellipse(body.normal(0, 0.015), 0, 0.09, 1.3, 0, 0.1)
    at_x, at_y, girth = 0.1 + body.normal(0, 0.02), 0.36 + body.normal(0, 0.02), 0.25 + body.normal(0, 0.02)
    heart = 0.95 * canvas.ellipse(at_x, at_y, girth, 0.3, 0.5, 0.15)

    def centre(place: str, side: int, rng: Random) -> tuple[float, float]:
        sign = 1 if side else -1
        height_of = {"upper": -0.55, "middle": -0.05, "lower": 0.42}[place]
        outward = 0.06 if place == "lower" else -0.02
        x = middles[side] + rng.uniform(-0.05, 0.05) + sign * outward
        return float(x), float(level + height_of * height + rng.uniform(-0.06, 0.06))

    span = (level - height * 0.95, level + height * 0.98)

    def cover(film: Array) -> Array:
        return blend(blend(film, 0.72, spine), 0.7, heart)

    return Scene(image, both, (lungs[0], lungs[1]), span, centre, _grey, cover, grain=np.pi / 2)


def prostate(canvas: Canvas, body: Random) -> Scene:
    """An axial slice: bright peripheral zone round a grey transition zone, rectum below, muscle beside."""
    image = np.full((SIZE, SIZE), 0.55, np.float32) + 0.03 * texture(body, 3.5)
    for sign in (-1, 1):
        muscle = canvas.ellipse(
            sign * (0.95 + body.normal(0, 0.02)),
            -0.05 + body.normal(0, 0.04),
            0.2,
            0.7 + body.normal(0, 0.04),
            sign * 0.15,
        )
        image = blend(image, 0.18, muscle)
    image = blend(image, 0.22, canvas.ellipse(0, -0.92, 0.5, 0.16))
    a, b, cy = 0.68 + body.normal(0, 0.03), 0.6 + body.normal(0, 0.025), -0.05 + body.normal(0, 0.03)
    image = blend(image, 0.12, canvas.ellipse(0, cy, a + 0.05, b + 0.05))
    gland = canvas.ellipse(0, cy, a, b)
    image = blend(image, 0.76 + 0.025 * texture(body, 2.0), gland)
    inner = canvas.ellipse(body.normal(0, 0.02), cy - 0.14, a * 0.74, b * 0.64, 0, 0.1)
    image = blend(image, 0.46 + 0.045 * texture(body, 2.5), inner)
    image = blend(image, 0.62, canvas.ellipse(0, cy - 0.02, 0.05, 0.06))
    rectum = body.normal(0, 0.03)
    image = blend(image, 0.3, canvas.ellipse(rectum, 0.82 + body.normal(0, 0.02), 0.26, 0.16))
    image = blend(image, 0.05, canvas.ellipse(rectum, 0.84, 0.14, 0.08))

    def centre(place: str, side: int, rng: Random) -> tuple[float, float]:
        sign = 1 if side else -1
        if place == "lower":
            angle = rng.uniform(0.65, 1.05)
            return float(sign * a * 0.76 * np.cos(angle)), float(cy + b * 0.76 * np.sin(angle))
        if place == "middle":
            return float(sign * rng.uniform(0.22, 0.45)), float(cy - 0.1 + rng.uniform(-0.08, 0.1))
        return float(sign * rng.uniform(0.14, 0.32)), float(cy - 0.4 + rng.uniform(-0.05, 0.08))

    halves = (canvas.half(0) * gland, canvas.half(1) * gland)
    return Scene(image, gland, halves, (cy - b, cy + b), centre, _grey, lambda slice_: slice_)


def histology(canvas: Canvas, body: Random) -> Scene:
    """A stained tile: wavy fibres with small nuclei between them."""
    ground = np.array([0.92, 0.76, 0.85], np.float32) * (1 + body.normal(0, 0.015, 3))
    nucleus = np.array([0.55, 0.38, 0.68], np.float32) * (1 + body.normal(0, 0.04, 3))
    grain = texture(body, 3.0)[..., None] * np.array([0.012, 0.03, 0.018], np.float32)
    image = (np.ones((SIZE, SIZE, 3), np.float32) * ground + grain).astype(np.float32)
    slope, bend = body.normal(0, 0.2), body.uniform(0.05, 0.12)
    course = canvas.y + slope * canvas.x + bend * np.sin(3 * canvas.x + body.uniform(0, 6.28))
    fibres = np.clip(np.sin(course * (14 + body.normal(0, 0.6)) + body.uniform(0, 6.28)) - 0.3, 0, 1)
    image = blend(image, [0.86, 0.62, 0.76], 0.6 * fibres.astype(np.float32))
    for row, column in np.ndindex(4, 4):
        cx, cy = (np.array([column, row]) - 1.5) * 0.5 + body.uniform(-0.16, 0.16, 2)
        image = blend(image, nucleus, 0.8 * canvas.ellipse(cx, cy, 0.085, 0.06, body.uniform(-0.5, 0.5), 0.2))

    def centre(place: str, side: int, rng: Random) -> tuple[float, float]:
        height_of = {"upper": -0.55, "middle": 0.0, "lower": 0.55}[place]
        return float((1 if side else -1) * rng.uniform(0.25, 0.65)), float(height_of + rng.uniform(-0.15, 0.15))

    def shade(tone: str, rng: Random) -> object:
        return np.array([0.3, 0.18, 0.42] if tone == "dark" else [1.0, 0.96, 0.98]) * rng.uniform(0.95, 1.0)

    everywhere = np.ones((SIZE, SIZE), np.float32)
    return Scene(image, everywhere, (canvas.half(0), canvas.half(1)), (-1.0, 1.0), centre, shade, lambda tile: tile)


SCENES: dict[str, Callable[[Canvas, Random], Scene]] = {"cxr": chest, "prostate": prostate, "histology": histology}
