"""Varied phantoms, 128 pixels: bodies with tens of parameters, deformed smoothly, findings whose shapes survive, and a
scanner's blur and noise.

Words and held-out combinations are in `findings`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from embhub.phantoms.bodies import BODIES, Body
from embhub.phantoms.coordinates import Array, Plane, Pose, Random, blend, ramp
from embhub.phantoms.findings import HELD_OUT, MODALITIES, SIDES, TONES, Finding, caption, near_miss, random_finding
from embhub.phantoms.scanner import Scanner

SIDE = 128
SHAPES = ("spot", "oval", "ring", "level", "line")
OVERSIZE = "oversize"
"""A size that no caption says and no base is shown: larger than a large finding."""
_RADII = {"small": (0.15, 0.175), "large": (0.215, 0.25), OVERSIZE: (0.34, 0.4)}
_DEPTHS = {"small": (0.18, 0.28), "large": (0.35, 0.5), OVERSIZE: (0.65, 0.8)}
_FAINTEST = 0.54
_MIX = ("cxr", "prostate", "cxr", "prostate", "histology")


@dataclass(frozen=True)
class VariedPhantom:
    """A drawn image: `image` uint8 (S, S, 3), `mask` float32 (S, S), 0 to 1, where findings are."""

    image: NDArray[np.uint8]
    mask: Array
    modality: str
    findings: tuple[Finding, ...]

    @property
    def caption(self) -> str:
        """The caption that says every attribute."""
        return caption(self.modality, self.findings)


def draw(
    modality: str,
    findings: Finding | Sequence[Finding] | None,
    rng: Random,
    *,
    patient: int | None = None,
    side: int = SIDE,
) -> VariedPhantom:
    """One phantom of `modality` with `findings` (None or empty: normal), `side` pixels wide.

    `patient` seeds the body and its deformation: two phantoms of one patient share them and differ in pose, scanner
    and the detail of findings. Without it every phantom is another patient.

    Raises:
        KeyError: an unknown modality, or a shape that is not in `SHAPES`.
    """
    chosen = () if findings is None else (findings,) if isinstance(findings, Finding) else tuple(findings)
    make = BODIES[modality]
    seed = int(rng.integers(2**62)) if patient is None else patient
    body = np.random.default_rng([seed, MODALITIES.index(modality)])
    plane = Plane(side, Pose.drawn(rng), body)
    shown = make(plane, body)
    image, mask = shown.finish(shown.image), np.zeros((side, side), np.float32)
    for finding in chosen:
        here = opacity(plane, shown, finding, rng)
        image = blend(image, shown.shades[finding.tone], here)
        mask = np.maximum(mask, here)
    picture = Scanner.drawn(rng).picture(image, plane, rng)
    return VariedPhantom(picture, mask, modality, chosen)


def draw_many(count: int, seed: int, *, side: int = SIDE, first: int = 0) -> list[VariedPhantom]:
    """`count` phantoms for training a base: a fifth normal, most with one finding, some with two, none held out.

    Modalities take turns over five; `first` says where the turn begins, so that small batches meet them all.
    """
    rng = np.random.default_rng(seed)
    drawn = []
    for index in range(first, first + count):
        modality, chance = _MIX[index % len(_MIX)], rng.random()
        number = 0 if chance < 0.2 else 1 if chance < 0.85 else 2
        drawn.append(draw(modality, [random_shape(modality, rng) for _ in range(number)], rng, side=side))
    return drawn


def random_shape(modality: str, rng: Random) -> Finding:
    """A finding drawn at random, never a held-out one, never too faint to see."""
    finding = random_finding(modality, rng)
    return replace(finding, strength=max(finding.strength, _FAINTEST))


def near_misses(name: str, rng: Random) -> tuple[Finding, ...]:
    """What a judge has to tell from the held-out finding `name`: another tone, place or shape, or findings on both
    sides, which never are the target."""
    held = HELD_OUT[name]
    one = near_miss(name, rng)
    if rng.random() < 0.2:
        other = replace(one, side=next(side for side in SIDES if side != one.side))
        return (one, other)
    if rng.random() < 0.2:
        tone = next(tone for tone in TONES if tone != held.tone)
        return (replace(one, shape=held.shape, tone=tone),)
    return (one,)


def opacity(plane: Plane, body: Body, finding: Finding, rng: Random) -> Array:
    """Opacity of a finding, float32 (S, S), 0 to its strength."""
    side = SIDES.index(finding.side)
    centre = body.centre(finding.place, side, rng)
    radius = rng.uniform(*_RADII[finding.size])
    edge = 0.03 if finding.edge == "sharp" else 0.09
    if finding.shape == "level":
        shape = _level(plane, body, finding, centre[0], rng) * body.halves[side]
    else:
        shape = _compact(plane, body, finding.shape, centre, radius, edge, rng)
    return np.asarray(np.clip(shape, 0, 1) * np.clip(body.tissue * 1.3, 0, 1) * finding.strength, np.float32)


def _compact(
    plane: Plane, body: Body, shape: str, centre: tuple[float, float], radius: float, edge: float, rng: Random
) -> Array:
    cx, cy = centre
    if shape == "spot":
        return plane.ellipse(cx, cy, radius, radius * rng.uniform(0.88, 1.14), 0, edge)
    if shape == "oval":
        return plane.ellipse(cx, cy, radius * 1.45, radius * 0.78, body.grain + rng.uniform(-0.4, 0.4), edge)
    if shape == "ring":
        outer, inner = radius * 1.25, radius * 0.7
        return plane.ellipse(cx, cy, outer, outer, 0, edge) - plane.ellipse(cx, cy, inner, inner, 0, edge)
    if shape == "line":
        angle, reach = body.grain + rng.uniform(-0.5, 0.5), radius * 1.8
        dx, dy = reach * np.cos(angle), reach * np.sin(angle)
        width = radius * 0.4 + (0.015 if edge > 0.05 else 0.0)
        return plane.stroke((cx - dx, cy - dy), (cx + dx, cy + dy), width, rng.normal(0, 0.03))
    raise KeyError(shape)


def _level(plane: Plane, body: Body, finding: Finding, cx: float, rng: Random) -> Array:
    """A band with a nearly horizontal edge: fluid at the bottom, air at the top, or a belt in the middle."""
    top, bottom = body.span
    depth = (bottom - top) * rng.uniform(*_DEPTHS[finding.size])
    width = 0.04 if finding.edge == "sharp" else 0.14
    line = plane.y + rng.uniform(-0.15, 0.15) * (plane.x - cx)
    if finding.place == "lower":
        return ramp((line - (bottom - depth)) / width)
    if finding.place == "upper":
        return ramp(((top + depth) - line) / width)
    middle = (top + bottom) / 2 + rng.uniform(-0.1, 0.1) * (bottom - top)
    return ramp((depth * 0.45 - np.abs(line - middle)) / width)
