"""Phantoms: a body with findings drawn into it, a caption and a mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embhub.phantoms.anatomy import SCENES, SIZE, Array, Canvas, Random, Scene, blend, texture
from embhub.phantoms.findings import MODALITIES, SIDES, Finding, caption, random_finding

# Two chest films and two prostate slices for every tissue tile: the first two carry the held-out findings.
_MIX = ("cxr", "prostate", "cxr", "prostate", "histology")


@dataclass(frozen=True)
class Phantom:
    """A drawn image: `image` uint8 (64, 64, 3), its `caption`, and `mask` float32 (64, 64), 0 to 1, where findings
    are."""

    image: NDArray[np.uint8]
    caption: str
    mask: Array
    modality: str
    findings: tuple[Finding, ...]


def draw(
    modality: str,
    findings: Finding | Sequence[Finding] | None,
    rng: Random,
    *,
    patient: int | None = None,
    vary_caption: bool = True,
) -> Phantom:
    """Draw one phantom of `modality` (one of `MODALITIES`) with `findings` (None or empty: normal).

    `patient` seeds the anatomy: two phantoms of one patient share it and differ in pose, noise and lesion detail.
    Without it every phantom is another patient. `vary_caption=False` says every attribute. Raises KeyError on an
    unknown modality.
    """
    chosen = () if findings is None else (findings,) if isinstance(findings, Finding) else tuple(findings)
    body = np.random.default_rng(int(rng.integers(2**63)) if patient is None else [patient, MODALITIES.index(modality)])
    canvas = Canvas.posed(rng)
    scene = SCENES[modality](canvas, body)
    image, mask = scene.image, np.zeros((SIZE, SIZE), np.float32)
    for finding in chosen:
        spot = _lesion(canvas, scene, finding, rng)
        image = blend(image, scene.shade(finding.tone, rng), spot)
        mask = np.maximum(mask, spot)
    image = scene.finish(image)
    noise = 0.01 * rng.standard_normal((SIZE, SIZE)).astype(np.float32)
    image = np.clip(image + (noise[..., None] if image.ndim == 3 else noise), 0, 1)
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=2)
    text = caption(modality, chosen, rng if vary_caption else None)
    return Phantom((image * 255 + 0.5).astype(np.uint8), text, mask, modality, chosen)


def draw_base(count: int, seed: int) -> list[Phantom]:
    """`count` phantoms for training a base model: a fifth normal, most with one finding, some with two, none held
    out."""
    rng = np.random.default_rng(seed)
    phantoms = []
    for index in range(count):
        modality = _MIX[index % len(_MIX)]
        chance = rng.random()
        number = 0 if chance < 0.2 else 1 if chance < 0.85 else 2
        phantoms.append(draw(modality, [random_finding(modality, rng) for _ in range(number)], rng))
    return phantoms


def _lesion(canvas: Canvas, scene: Scene, finding: Finding, rng: Random) -> Array:
    """Opacity of a finding, float32 (64, 64), 0 to `strength`."""
    side = SIDES.index(finding.side)
    cx, cy = scene.centre(finding.place, side, rng)
    radius = rng.uniform(0.17, 0.2) if finding.size == "small" else rng.uniform(0.25, 0.3)
    soft = 0.1 if finding.edge == "sharp" else 0.35
    if finding.shape == "spot":
        mask = canvas.ellipse(cx, cy, radius, radius * rng.uniform(0.88, 1.14), 0, soft)
    elif finding.shape == "oval":
        turn = scene.grain + rng.uniform(-0.4, 0.4)
        mask = canvas.ellipse(cx, cy, radius * 1.5, radius * 0.6, turn, soft)
    elif finding.shape == "ring":
        outer, inner = radius * 1.15, radius * 0.58
        mask = canvas.ellipse(cx, cy, outer, outer, 0, soft) - canvas.ellipse(cx, cy, inner, inner, 0, soft)
    elif finding.shape == "patch":
        distance = ((canvas.x - cx) / (radius * 1.3)) ** 2 + ((canvas.y - cy) / (radius * 1.1)) ** 2
        mask = 0.9 * np.exp(-distance) * np.clip(1 + 0.35 * texture(rng, 1.8), 0, 1.3)
    else:
        mask = _level(canvas, scene, finding, cx, rng) * scene.halves[side]
    inside = np.clip(mask, 0, 1) * np.clip(scene.tissue * 1.3, 0, 1)
    return np.asarray(inside * finding.strength, np.float32)


def _level(canvas: Canvas, scene: Scene, finding: Finding, cx: float, rng: Random) -> Array:
    """A band with a nearly horizontal edge: fluid at the bottom, air at the top, or a belt in the middle."""
    top, bottom = scene.span
    depth = (bottom - top) * (rng.uniform(0.18, 0.28) if finding.size == "small" else rng.uniform(0.35, 0.5))
    width = 0.05 if finding.edge == "sharp" else 0.16
    line = canvas.y + rng.uniform(-0.15, 0.15) * (canvas.x - cx)
    if finding.place == "lower":
        inside = (line - (bottom - depth)) / width + 0.5
    elif finding.place == "upper":
        inside = ((top + depth) - line) / width + 0.5
    else:
        middle = (top + bottom) / 2 + rng.uniform(-0.1, 0.1) * (bottom - top)
        inside = (depth * 0.45 - np.abs(line - middle)) / width + 0.5
    return np.clip(inside, 0, 1).astype(np.float32)
