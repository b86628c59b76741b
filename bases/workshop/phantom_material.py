"""Varied phantoms as training material: each pool is drawn anew, so that no phantom is seen more than some times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from bases.workshop.corpus import Caption
from bases.workshop.latent_pictures import FACTOR
from bases.workshop.material import HeldOut, Material, Pool
from embhub.phantoms import findings, varied
from embhub.phantoms.findings import MODALITIES, Finding

_POOL, _HELD_OUT, _TEXTS = 4000, 60, 3000
_REGION = 6.0
_HIGH = 0.4
"""Share of times drawn among the noisiest: place, side and shape of a finding are decided there."""
_ODDS = (0.5, 1.0, 0.4)  # of phantoms with no, one, two findings


def of_phantoms(_data: Path | None = None, seed: int = 0, pool_size: int = _POOL) -> Material:
    """Phantoms of every modality, none with a held-out finding."""

    def draw(number: int, generator: torch.Generator) -> Tensor:
        return _images(varied.draw_many(number, int(torch.randint(2**62, (1,), generator=generator))))

    def pool(number: int) -> Pool:
        return _pool(varied.draw_many(pool_size, _seed(seed, number)))

    held = varied.draw_many(_HELD_OUT, _seed(seed, 10**6))
    return Material("builtin", draw, pool, _held_out(held), _texts(seed), _HIGH)


def first_pool(count: int, seed: int = 0) -> NDArray[np.uint8]:
    """The first `count` phantoms that a denoiser of `seed` learns from, (N, 128, 128, 3)."""
    return np.stack([one.image for one in varied.draw_many(count, _seed(seed, 0))])


def _seed(seed: int, number: int) -> int:
    return int(np.random.default_rng([seed, number]).integers(2**62))


def _images(drawn: Sequence[varied.VariedPhantom]) -> Tensor:
    return torch.from_numpy(np.stack([one.image for one in drawn])).permute(0, 3, 1, 2).float() / 127.5 - 1


def _pool(drawn: Sequence[varied.VariedPhantom]) -> Pool:
    pictures = torch.from_numpy(np.stack([one.image for one in drawn]))
    return Pool(
        count=len(drawn),
        images=lambda places: pictures[places].permute(0, 3, 1, 2).float() / 127.5 - 1,
        caption=lambda place, rng: varied_caption(drawn[place], rng),
        odds=torch.tensor([_ODDS[len(one.findings)] * (0.6 if one.modality == "histology" else 1) for one in drawn]),
        weights=region_weights(drawn),
    )


def region_weights(drawn: Sequence[varied.VariedPhantom]) -> Tensor:
    """1, and up to 6 more where findings of a modality tend to be: never where the very image's finding is, which would
    teach a denoiser to see findings everywhere."""
    focus = _focus(drawn)
    kinds = torch.tensor([MODALITIES.index(one.modality) for one in drawn])
    means = torch.stack([focus[kinds == kind].mean(0) if (kinds == kind).any() else focus[0] for kind in range(3)])
    region = _REGION * means / means.amax((1, 2, 3), keepdim=True).clamp_min(1e-6)
    return 1 + region[kinds]


def _focus(drawn: Sequence[varied.VariedPhantom]) -> Tensor:
    masks = torch.from_numpy(np.stack([one.mask for one in drawn]))[:, None]
    return F.max_pool2d(masks, FACTOR)


def varied_caption(phantom: varied.VariedPhantom, rng: np.random.Generator | None = None) -> Caption:
    """The caption of a phantom with its words apart; with `rng` words are left out, one caption in ten altogether."""
    if rng is not None and rng.random() < 0.1:
        return Caption()
    text = findings.caption(phantom.modality, phantom.findings, rng)
    for joint in (" with ", ", "):
        head, found, tail = text.partition(joint)
        if found and phantom.findings:
            return Caption(f"{head}{joint.rstrip()}", tuple(tail.split(" and ")), "and")
    return Caption(text)


def _held_out(drawn: Sequence[varied.VariedPhantom]) -> HeldOut:
    """Phantoms with one finding first: their captions are swapped word by word."""
    single = [one for one in drawn if len(one.findings) == 1]
    ordered = [*single, *(one for one in drawn if len(one.findings) != 1)]
    swaps: dict[str, Callable[[Finding], Finding]] = {
        "place": lambda one: replace(one, place="upper" if one.place == "lower" else "lower"),
        "side": lambda one: replace(one, side="left" if one.side == "right" else "right"),
        "tone": lambda one: replace(one, tone="dark" if one.tone == "bright" else "bright"),
        "shape": lambda one: replace(one, shape="ring" if one.shape in ("level", "line") else "level"),
    }
    swapped = {
        name: [varied_caption(replace(one, findings=(swap(one.findings[0]),))) for one in single]
        for name, swap in swaps.items()
    }
    return HeldOut(_images(ordered), [varied_caption(one) for one in ordered], swapped, _focus(single))


def _texts(seed: int) -> list[str]:
    rng = np.random.default_rng([seed, 77])
    kinds = [MODALITIES[int(rng.integers(3))] for _ in range(_TEXTS)]
    shown = [[varied.random_shape(kind, rng) for _ in range(int(rng.integers(3)))] for kind in kinds]
    return [findings.caption(kind, tuple(some), rng) for kind, some in zip(kinds, shown, strict=True)]
