"""A judge that counts what samples show: the held-out finding, another finding, both or neither.

It is made hard to flatter: it trains on look-alikes that differ from the target in one attribute, on smeared findings
on both sides, on blurred images and, where an autoencoder is at hand, on images that went through it, as all samples
have.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from bases.workshop.autoencoder import decode, encode
from embhub.builtin_bases import resolve
from embhub.diffusion.evaluation import classifier
from embhub.phantoms.drawing import draw
from embhub.phantoms.findings import HELD_OUT, Finding, near_miss, random_finding, target_finding

Images = NDArray[np.uint8]
Marks = NDArray[np.bool_]


@dataclass(frozen=True)
class Verdict:
    """For each image: does it show the `target`, does it show any `other` finding; bool (N,) each."""

    target: Marks
    other: Marks

    @property
    def target_only(self) -> Marks:
        """Images that show the target and nothing else."""
        marks: Marks = self.target & ~self.other
        return marks

    def shares(self) -> dict[str, float]:
        """Shares of the images: target, target and nothing else, another finding, nothing."""
        nothing = ~self.target & ~self.other
        names = {"target": self.target, "target_only": self.target_only, "other": self.other, "nothing": nothing}
        return {name: round(float(marks.mean()), 3) for name, marks in names.items()}


Judge = Callable[[Images], Verdict]


@lru_cache(maxsize=4)
def judge_for(
    finding: str, base: str | Path | None = None, *, size: int = 1500, steps: int = 700, seed: int = 7
) -> Judge:
    """A judge of a held-out finding (a key of `HELD_OUT`), trained on `size` fresh phantoms and their spoilt copies.

    With `base` (a built-in name or a pipeline folder) a third copy of every image goes through its autoencoder. Takes
    half a minute on one core; the last four judges are kept. The judge takes uint8 images (N, 64, 64, 3).
    """
    images, marks = examples(finding, size, seed)
    copies, truths = [images, blurred(images)], [marks, marks]
    if base is not None:
        copies.append(reconstructed(images, base))
        truths.append(marks)
    model = classifier.fit(
        np.concatenate(copies),
        np.concatenate(truths),
        classes=("target", "other"),
        steps=steps,
        seed=seed,
        width=20,
        mirror=False,
    )

    def judge(pictures: Images) -> Verdict:
        found = model.probabilities(pictures) > 0.5
        return Verdict(found[:, 0], found[:, 1])

    return judge


def examples(finding: str, count: int, seed: int) -> tuple[Images, NDArray[np.int64]]:
    """Phantoms (N, 64, 64, 3) and what they show, (N, 2) of 0/1: the target, another finding."""
    modality = HELD_OUT[finding].modality
    rng = np.random.default_rng(seed)
    images, marks = [], []
    for index in range(count):
        shown, truth = _scene(index % 10, finding, modality, rng)
        images.append(draw(modality, shown, rng).image)
        marks.append(truth)
    return np.stack(images), np.array(marks, np.int64)


def _scene(
    kind: int, finding: str, modality: str, rng: np.random.Generator
) -> tuple[tuple[Finding, ...], tuple[int, int]]:
    """Of ten: three with the target (one in six on both sides), one with another beside it, two normal, four others.

    The others are two near misses, one smeared over both sides, and one finding of any kind.
    """
    if kind < 3:
        target = target_finding(finding, rng)
        both = (replace(target, side="left"), replace(target, side="right"))
        return (both if rng.random() < 1 / 6 else (target,)), (1, 0)
    if kind == 3:
        return (target_finding(finding, rng), random_finding(modality, rng)), (1, 1)
    if kind < 6:
        return (), (0, 0)
    if kind < 8:
        return (near_miss(finding, rng),), (0, 1)
    if kind == 8:
        smear = near_miss(finding, rng)
        return (replace(smear, side="left"), replace(smear, side="right")), (0, 1)
    return (random_finding(modality, rng),), (0, 1)


def blurred(images: Images, width: float = 0.8) -> Images:
    """Copies smoothed by a Gaussian of `width` pixels."""
    return np.stack([gaussian_filter(image.astype(np.float32), (width, width, 0)) for image in images]).astype(np.uint8)


def reconstructed(images: Images, base: str | Path) -> Images:
    """Copies that went through the autoencoder of `base`, uint8 (N, H, W, 3)."""
    folder = resolve(base)
    model = AutoencoderKL.from_pretrained(str(folder), subfolder="vae", torch_dtype=torch.float32).eval()
    drawn = decode(model, encode(model, torch.from_numpy(images)))
    copies: Images = ((drawn + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    return copies
