"""Judges of varied phantoms: does an image show the held-out finding and nothing else. `readers` has those of words.

They are trained with near-misses: another place, shape or tone, a finding that is too large, two findings. Their
phantoms are drawn from seeds of their own, a third of them blurred, a third sent through the base's autoencoder, and
read at 64 pixels. `accuracy` of each, on further phantoms, belongs beside everything that it counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bases.workshop.judge import Images, Judge, Verdict, blurred, reconstructed
from embhub.diffusion.evaluation import classifier
from embhub.phantoms.findings import HELD_OUT, PLACES, SIDES, TONES, Finding, target_finding
from embhub.phantoms.varied import OVERSIZE, SHAPES, draw, near_misses, random_shape

Random = np.random.Generator
Shown = tuple[Finding, ...]
GROUPS = (TONES, SHAPES, PLACES, SIDES)
WORDS = ("normal", "misfit", *(word for group in GROUPS for word in group))
"""`misfit`: too large, or two findings."""
_SIZE, _STEPS = 2700, 1500
_KINDS = 20


def pictures(modality: str, shown: Sequence[Shown], rng: Random) -> Images:
    """A phantom of another patient for each of `shown`."""
    return np.stack([draw(modality, findings, rng).image for findings in shown])


@lru_cache(maxsize=4)
def judge_for(finding: str, base: Path, *, size: int = _SIZE, steps: int = _STEPS, seed: int = 7) -> Judge:
    """A judge of a held-out finding (a key of `HELD_OUT`), of uint8 images (N, 128, 128, 3)."""
    rng = np.random.default_rng([seed, 1])
    scenes = [scene(index, finding, rng) for index in range(size)]
    marks = np.array([truth for _, truth in scenes], np.int64)
    images = pictures(HELD_OUT[finding].modality, [shown for shown, _ in scenes], rng)
    model = trained(images, marks, ("target", "other"), base, steps, seed)

    def judge(seen: Images) -> Verdict:
        found = model.probabilities(seen) > 0.5
        return Verdict(found[:, 0], found[:, 1])

    return judge


@lru_cache(maxsize=4)
def feature_network(finding: str) -> classifier.Classifier:
    """A classifier of target, near-miss or normal, whose features tell how near generated phantoms come to real ones.

    It sees plain phantoms alone, so that what an autoencoder does to an image counts.
    """
    rng = np.random.default_rng([13, 3])
    kinds = np.arange(900) % 3
    made = (lambda: (target_finding(finding, rng),), lambda: near_misses(finding, rng), lambda: ())
    images = pictures(HELD_OUT[finding].modality, [made[kind]() for kind in kinds], rng)
    classes = ("target", "near miss", "normal")
    return classifier.fit(images, kinds, classes=classes, steps=400, seed=13, mirror=False)


def scene(index: int, finding: str, rng: Random) -> tuple[Shown, tuple[int, int]]:
    """What phantom number `index` of a judge shows, and whether that is the target, and whether anything else.

    Of twenty: six the target alone, two with more than that, three normal, five near misses, one too large, one near
    miss twice, two findings of any kind.
    """
    kind, modality, target = index % _KINDS, HELD_OUT[finding].modality, target_finding(finding, rng)
    if kind < 6:
        return (target,), (1, 0)
    if kind == 6:
        return (target, random_shape(modality, rng)), (1, 1)
    if kind == 7:
        return (replace(target, side="left"), replace(target, side="right")), (1, 1)
    if kind < 11:
        return (), (0, 0)
    if kind < 16:
        return near_misses(finding, rng), (0, 1)
    if kind == 16:
        return (replace(target, size=OVERSIZE),), (0, 1)
    if kind == 17:
        one = near_misses(finding, rng)[0]
        return (replace(one, side="left"), replace(one, side="right")), (0, 1)
    return (random_shape(modality, rng),), (0, 1)


def single_or_misfit(index: int, modality: str, rng: Random) -> Shown:
    """Of ten: two normal, six with one finding, one with two, one with a finding that is too large."""
    kind, one = index % 10, random_shape(modality, rng)
    if kind < 2:
        return ()
    if kind < 8:
        return (one,)
    return (one, random_shape(modality, rng)) if kind == 8 else (replace(one, size=OVERSIZE),)


def told(shown: Shown) -> frozenset[str]:
    """The words of `WORDS` that hold for a phantom with these findings."""
    if not shown:
        return frozenset({"normal"})
    words = frozenset(word for one in shown for word in (one.tone, one.shape, one.place, one.side))
    odd = len(shown) > 1 or shown[0].size == OVERSIZE
    return words | {"misfit"} if odd else words


def asked(prompt: str) -> frozenset[str]:
    """The words of `WORDS` that a prompt says."""
    return frozenset(prompt.replace(",", " ").split()) & frozenset(WORDS)


def trained(
    images: Images, marks: NDArray[np.int64], classes: Sequence[str], base: Path, steps: int, seed: int
) -> classifier.Classifier:
    """A classifier of the images: a third as they are, a third blurred, a third rebuilt; halved only after that."""
    plain, soft, through = (images[third::3] for third in range(3))
    rebuilt = np.concatenate([reconstructed(part, base) for part in np.array_split(through, len(through) // 100 + 1)])
    return classifier.fit(
        np.concatenate([halved(part) for part in (plain, blurred(soft, 1.2), rebuilt)]),
        np.concatenate([marks[third::3] for third in range(3)]),
        classes=classes,
        steps=steps,
        seed=seed,
        width=20,
        mirror=False,
    )


def halved(images: Images) -> Images:
    """Images of half the side, each pixel the mean of four."""
    count, high, wide, colours = images.shape
    blocks = images.reshape(count, high // 2, 2, wide // 2, 2, colours).astype(np.float32)
    smaller: Images = (blocks.mean((2, 4)) + 0.5).astype(np.uint8)
    return smaller
