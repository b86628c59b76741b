"""Bodies that differ from patient to patient: a chest film, an axial prostate slice, a stained tile.

Each has tens of parameters, all drawn from `body`. What a body shows by itself (ribs, vessels, nodules of low contrast,
nuclei) is smaller or fainter than any finding, so that what is a finding is no matter of opinion.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from embhub.phantoms.coordinates import Array, Plane, Random, blend, ramp

Centre = Callable[[str, int, Random], tuple[float, float]]


@dataclass(frozen=True)
class Body:
    """A body to draw findings into: `image` (S, S) or (S, S, 3), 0 to 1.

    `tissue` is where a finding may show, `halves` what a level fills on either side, `span` the organ's top and bottom,
    `centre(place, side, rng)` where a finding sits, `shades` the grey or colour of a dark and of a bright finding,
    `finish` what lies over it, `grain` the direction in radians that long findings follow, 0 for across.
    """

    image: Array
    tissue: Array
    halves: tuple[Array, Array]
    span: tuple[float, float]
    centre: Centre
    shades: Mapping[str, object]
    finish: Callable[[Array], Array]
    grain: float


def chest(plane: Plane, body: Random) -> Body:
    """A frontal film: two dark lungs behind ribs, spine, heart, vessels, diaphragm, collar bones, stomach air."""
    trunk = 0.62 + body.normal(0, 0.04) + 0.06 * plane.y
    image = np.full((plane.side, plane.side), body.uniform(0.02, 0.1), np.float32)
    wide = float(np.clip(body.normal(0.93, 0.05), 0.82, 1.02))
    image = blend(image, trunk, plane.ellipse(0, 0.3, wide, 1.25, 0, 0.08, body.uniform(2.2, 3.2)))
    image = blend(image, trunk, plane.ellipse(0, -1.0, 0.3 + body.normal(0, 0.03), 0.5, 0, 0.1))
    middles = [sign * (0.43 + body.normal(0, 0.02)) for sign in (-1, 1)]
    level, height = -0.1 + body.normal(0, 0.03), 0.66 + body.normal(0, 0.04)
    lungs, air = [], body.uniform(0.34, 0.46)
    for sign, middle in zip((-1, 1), middles, strict=True):
        wide, tilt = 0.34 + body.normal(0, 0.02), sign * (-0.12 + body.normal(0, 0.03))
        lung = plane.ellipse(middle, level, wide, height, tilt, 0.05, body.uniform(1.9, 2.4))
        dome = level + height * 0.86 + body.normal(0, 0.03) - (0.03 if sign < 0 else 0.0)
        sink = 0.35 * (plane.x - middle) ** 2 / wide
        lung = lung * ramp((dome + sink - plane.y) / 0.05)
        image = blend(image, air + 0.02 * plane.texture(body, 0.06), lung)
        lungs.append(lung)
    both = np.clip(lungs[0] + lungs[1], 0, 1)
    image = _vessels(image, plane, body, both)
    image = image + _ribs(plane, body) * both
    image = blend(image, body.uniform(0.1, 0.25), _stomach(plane, body, level + height))
    spine, heart = _spine(plane, body), _heart(plane, body, level)
    bone = body.uniform(0.1, 0.2)
    collars = sum((_collar(plane, body, sign) for sign in (-1, 1)), np.zeros_like(image))

    def finish(film: Array) -> Array:
        over = blend(blend(film, body_tone + 0.06, 0.75 * spine), body_tone + 0.03, 0.8 * heart)
        return (over + bone * collars).astype(np.float32)

    body_tone = float(np.mean(trunk)) + 0.08

    def centre(place: str, side: int, rng: Random) -> tuple[float, float]:
        sign = 1 if side else -1
        rise = {"upper": -0.52, "middle": -0.03, "lower": 0.42}[place]
        outward = 0.05 if place == "lower" else -0.02
        x = middles[side] + rng.uniform(-0.05, 0.05) + sign * outward
        return float(x), float(level + rise * height + rng.uniform(-0.05, 0.05))

    halves, span = (lungs[0], lungs[1]), (level - height * 0.95, level + height * 0.9)
    shades = {"dark": body.uniform(0.0, 0.07), "bright": body.uniform(0.85, 1.0)}
    return Body(image.astype(np.float32), both, halves, span, centre, shades, finish, np.pi / 2)


def _ribs(plane: Plane, body: Random) -> Array:
    """Bright arcs over the lungs: behind, sloping down and out, and fainter ones in front that cross them."""
    fall, apart = body.uniform(0.2, 0.55), body.uniform(13.0, 19.0)
    outward = np.abs(plane.x) ** body.uniform(1.2, 1.8)
    behind = np.sin((plane.y - fall * outward + 0.1) * apart + body.uniform(0, 6.28))
    front = np.sin((plane.y + body.uniform(0.5, 0.9) * outward) * apart * 0.9 + body.uniform(0, 6.28))
    thin = body.uniform(0.1, 0.5)
    strong, faint = body.uniform(0.07, 0.15), body.uniform(0.01, 0.04)
    return (strong * np.clip(behind - thin, 0, 1) + faint * np.clip(front - thin, 0, 1)).astype(np.float32)


def _vessels(image: Array, plane: Plane, body: Random, both: Array) -> Array:
    """Thin branches from the roots of the lungs outward."""
    tone, total = body.uniform(0.06, 0.14), np.zeros_like(image)
    for sign in (-1, 1):
        root = (sign * (0.16 + body.normal(0, 0.02)), -0.05 + body.normal(0, 0.04))
        for _ in range(int(body.integers(4, 8))):
            angle, reach = body.uniform(-1.2, 1.2), body.uniform(0.25, 0.5)
            end = (root[0] + sign * reach * np.cos(angle), root[1] + reach * np.sin(angle))
            total += plane.stroke(root, end, body.uniform(0.012, 0.028), body.normal(0, 0.04))
    return (image + tone * np.clip(total, 0, 1.5) * both).astype(np.float32)


def _spine(plane: Plane, body: Random) -> Array:
    middle, half = body.normal(0, 0.02), 0.085 + body.normal(0, 0.008)
    bend = body.normal(0, 0.03) * np.sin(plane.y * body.uniform(1.0, 2.5) + body.uniform(0, 6.28))
    column = ramp((half - np.abs(plane.x - middle - bend)) / 0.04)
    discs = np.sin(plane.y * body.uniform(22, 28) + body.uniform(0, 6.28))
    return np.asarray(column * (0.85 + 0.15 * np.clip(discs, -0.5, 0.5)), np.float32)


def _heart(plane: Plane, body: Random, level: float) -> Array:
    girth, tall = 0.25 + body.normal(0, 0.025), 0.3 + body.normal(0, 0.025)
    main = plane.ellipse(0.09 + body.normal(0, 0.02), level + 0.42, girth, tall, 0.5 + body.normal(0, 0.12), 0.06)
    arch = plane.ellipse(0.07, level - 0.2 + body.normal(0, 0.03), 0.11 + body.normal(0, 0.012), 0.14, 0, 0.05)
    upper = plane.ellipse(0, level - 0.1, 0.12 + body.normal(0, 0.012), 0.4, 0, 0.06)
    return np.asarray(np.maximum(np.maximum(main, 0.8 * arch), 0.7 * upper), np.float32)


def _collar(plane: Plane, body: Random, sign: int) -> Array:
    start = (sign * 0.1, -0.68 + body.normal(0, 0.03))
    end = (sign * (0.72 + body.normal(0, 0.04)), -0.82 + body.normal(0, 0.05))
    return plane.stroke(start, end, body.uniform(0.04, 0.06), sign * body.uniform(-0.08, 0.08))


def _stomach(plane: Plane, body: Random, floor: float) -> Array:
    """Air under the left dome in about half of the patients; below the lungs, where no finding is drawn."""
    shown = float(body.random() < 0.5) * body.uniform(0.6, 1.0)
    size = body.uniform(0.08, 0.16)
    bubble = plane.ellipse(0.42 + body.normal(0, 0.05), floor + 0.1, size * 1.5, size * 0.8, 0, 0.05)
    return np.asarray(shown * bubble, np.float32)


def prostate(plane: Plane, body: Random) -> Body:
    """An axial slice: bright peripheral zone round a grey, faintly nodular transition zone, rectum, muscles, fat."""
    image = np.full((plane.side, plane.side), body.uniform(0.48, 0.62), np.float32) + 0.04 * plane.texture(body, 0.1)
    muscle, dark = body.uniform(0.13, 0.24), body.uniform(0.08, 0.18)
    for sign in (-1, 1):
        at = (sign * (0.95 + body.normal(0, 0.03)), -0.05 + body.normal(0, 0.06))
        image = blend(image, muscle, plane.ellipse(*at, 0.2 + body.normal(0, 0.02), 0.68, sign * 0.15, 0.05, 2.5))
        bone = (sign * (0.62 + body.normal(0, 0.04)), -0.95 + body.normal(0, 0.04))
        image = blend(image, 0.3 + body.normal(0, 0.04), plane.ellipse(*bone, 0.3, 0.18, sign * 0.5, 0.05))
    image = blend(image, muscle, plane.ellipse(0, -0.93, 0.32 + body.normal(0, 0.04), 0.14))
    a, b, cy = 0.66 + body.normal(0, 0.04), 0.57 + body.normal(0, 0.035), -0.06 + body.normal(0, 0.03)
    power = body.uniform(1.9, 2.5)
    image = blend(image, dark, plane.ellipse(0, cy, a + 0.045, b + 0.045, 0, 0.04, power))
    gland = plane.ellipse(0, cy, a, b, 0, 0.04, power)
    image = blend(image, body.uniform(0.68, 0.8) + 0.03 * plane.texture(body, 0.05), gland)
    share = body.uniform(0.62, 0.8)
    inner = plane.ellipse(body.normal(0, 0.02), cy - b * 0.24, a * share, b * 0.62, 0, 0.05, body.uniform(1.9, 2.4))
    image = blend(image, body.uniform(0.4, 0.5) + 0.05 * plane.texture(body, 0.06), inner)
    image = _whorls(image, plane, body, inner, cy)
    image = blend(image, 0.66, 0.8 * plane.ellipse(0, cy + b * 0.1, 0.045, 0.055 + body.normal(0, 0.008)))
    behind, wide = body.normal(0, 0.04), 0.25 + body.normal(0, 0.03)
    image = blend(image, body.uniform(0.25, 0.4), plane.ellipse(behind, 0.84, wide, 0.17, 0, 0.04))
    image = blend(image, 0.05, body.uniform(0.3, 1.0) * plane.ellipse(behind, 0.87, wide * 0.6, 0.09, 0, 0.04))

    def centre(place: str, side: int, rng: Random) -> tuple[float, float]:
        sign = 1 if side else -1
        if place == "lower":
            angle = rng.uniform(0.65, 1.0)
            return float(sign * a * 0.7 * np.cos(angle)), float(cy + b * 0.7 * np.sin(angle))
        if place == "middle":
            return float(sign * rng.uniform(0.24, 0.42)), float(cy - 0.08 + rng.uniform(-0.07, 0.08))
        return float(sign * rng.uniform(0.16, 0.32)), float(cy - 0.38 + rng.uniform(-0.05, 0.07))

    halves = (_half(plane, 0) * gland, _half(plane, 1) * gland)
    shades = {"dark": body.uniform(0.03, 0.12), "bright": body.uniform(0.92, 1.0)}
    return Body(image, gland, halves, (cy - b, cy + b), centre, shades, lambda slice_: slice_, 0.0)


def _whorls(image: Array, plane: Plane, body: Random, inner: Array, cy: float) -> Array:
    """Nodules of an enlarged gland: small, and of a tenth of a finding's contrast."""
    for _ in range(int(body.integers(2, 8))):
        x, y = body.uniform(-0.35, 0.35), cy - 0.12 + body.uniform(-0.22, 0.22)
        size = body.uniform(0.05, 0.1)
        nodule = plane.ellipse(x, y, size, size * body.uniform(0.8, 1.2), 0, 0.05) * inner
        image = (image + body.normal(0, 0.05) * nodule).astype(np.float32)
    return image


def histology(plane: Plane, body: Random) -> Body:
    """A stained tile: wavy fibres with small nuclei between them; stains and densities differ."""
    strength = body.uniform(0.8, 1.15)
    ground = 1 - (1 - np.array([0.93, 0.78, 0.86])) * strength * (1 + body.normal(0, 0.06, 3))
    fibre = 1 - (1 - np.array([0.86, 0.6, 0.75])) * strength * (1 + body.normal(0, 0.06, 3))
    nucleus = np.array([0.5, 0.36, 0.66]) * (1 + body.normal(0, 0.06, 3))
    grain = plane.texture(body, 0.08)[..., None] * np.array([0.012, 0.03, 0.018])
    image = (np.ones((plane.side, plane.side, 3)) * ground + grain).astype(np.float32)
    slope, bend = body.normal(0, 0.3), body.uniform(0.03, 0.14)
    course = plane.y + slope * plane.x + bend * np.sin(body.uniform(2, 4) * plane.x + body.uniform(0, 6.28))
    waves = np.sin(course * body.uniform(12, 20) + 0.4 * plane.texture(body, 0.15) + body.uniform(0, 6.28))
    image = blend(image, fibre, (body.uniform(0.4, 0.7) * np.clip(waves - 0.2, 0, 1)).astype(np.float32))
    rows, columns, size = int(body.integers(4, 7)), int(body.integers(4, 7)), body.uniform(0.04, 0.06)
    for row, column in np.ndindex(rows, columns):
        cx = ((column + 0.5) / columns * 2 - 1) + body.normal(0, 0.08)
        cy = ((row + 0.5) / rows * 2 - 1) + body.normal(0, 0.08)
        shape = plane.ellipse(cx, cy, size * body.uniform(0.9, 1.6), size * 0.8, body.normal(0, 0.4), 0.03)
        image = blend(image, nucleus, 0.8 * shape)

    def centre(place: str, side: int, rng: Random) -> tuple[float, float]:
        rise = {"upper": -0.55, "middle": 0.0, "lower": 0.55}[place]
        return float((1 if side else -1) * rng.uniform(0.3, 0.6)), float(rise + rng.uniform(-0.12, 0.12))

    shades = {"dark": np.array([0.26, 0.16, 0.4]), "bright": np.array([1.0, 0.97, 0.98])}
    everywhere = np.ones((plane.side, plane.side), np.float32)
    halves = (_half(plane, 0), _half(plane, 1))
    return Body(image, everywhere, halves, (-1.0, 1.0), centre, shades, lambda tile: tile, 0.0)


def _half(plane: Plane, side: int) -> Array:
    """1 on the viewer's left (`side` 0) or right (`side` 1) of the midline."""
    return ramp((1 if side else -1) * plane.x / 0.05)


BODIES: Mapping[str, Callable[[Plane, Random], Body]] = MappingProxyType(
    {"cxr": chest, "prostate": prostate, "histology": histology}
)
