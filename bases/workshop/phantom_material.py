"""Varied phantoms as training material: each pool is drawn anew, so that no phantom is seen more than some times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bases.workshop.facts import facts
from embhub.diffusion.adaptation.base_training.captions import Caption
from embhub.diffusion.adaptation.base_training.latent_pictures import FACTOR
from embhub.diffusion.adaptation.base_training.material import HeldOut, Material, Pool
from embhub.phantoms import findings, varied
from embhub.phantoms.findings import MODALITIES, PLACES, PREFIXES, SIDES, Finding

_POOL, _HELD_OUT, _TEXTS = 4000, 60, 3000
_TURN = 5
_NEXT = {"spot": "oval", "oval": "ring", "ring": "spot", "level": "spot", "line": "level"}
_REGION, _NAMED = 6.0, 20.0
"""How much more places count where findings of a modality tend to be, and where a caption says that one is."""
_TIMES = ((0, 400, 0.0625), (400, 500, 0.0625), (500, 850, 0.6875), (850, 1000, 0.1875))
"""A denoiser of 14,694 steps lost findings between the times 850 and 500; place and side are decided above."""
_MEASURED = (200, 500, 600, 650, 700, 750, 800, 900)
_POOL_STEPS = 2500
_WIDTHS = (96, 96, 96)
"""At equal numbers of samples the held-out loss was .387 with these, .393 with (64, 96, 128)."""
_ODDS = (0.3, 1.0, 0.25)  # of phantoms with no, one, two findings


def of_phantoms(_data: Path | None = None, seed: int = 0, pool_size: int = _POOL) -> Material:
    """Phantoms of every modality, none with a held-out finding."""

    def draw(number: int, generator: torch.Generator) -> Tensor:
        seed, first = torch.randint(2**62, (2,), generator=generator).tolist()
        drawn = varied.draw_many(number, seed, first=first % _TURN)
        return torch.cat([_images(drawn), torch.from_numpy(np.stack([one.mask for one in drawn]))[:, None]], 1)

    def pool(number: int) -> Pool:
        return _pool(varied.draw_many(pool_size, _seed(seed, number)))

    held = varied.draw_many(_HELD_OUT, _seed(seed, 10**6))
    return Material(
        "builtin", draw, pool, _held_out(held), _texts(seed), facts("builtin"), _TIMES, 3, _POOL_STEPS, _WIDTHS
    )


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
        weights=NamedPlaces(drawn),
    )


class NamedPlaces:
    """Weights of a latent's places by what a caption says: most where it puts a finding, some where its modality tends
    to have one. Never where the very image's finding is, which would teach a denoiser to draw findings that no word
    asks for.
    """

    def __init__(self, drawn: Sequence[varied.VariedPhantom]) -> None:
        self._focus = _focus(drawn)
        self._kinds = [one.modality for one in drawn]
        self._single = [one.findings[0] if len(one.findings) == 1 else None for one in drawn]
        self._known: dict[tuple[str | None, ...], Tensor] = {}

    def __call__(self, caption: Caption) -> Tensor:
        """Weights (1, 16, 16), from 1 on."""
        modality = next((kind for kind, phrases in PREFIXES.items() if caption.head.startswith(phrases)), None)
        if modality is None:
            return torch.ones_like(self._focus[0])
        weights = 1 + _REGION * self._mean(modality)
        for phrase in caption.phrases:
            said = set(phrase.split())
            place, side = (next((word for word in words if word in said), None) for words in (PLACES, SIDES))
            if place or side:
                level = "level" if "level" in said else None
                named = (2 * self._mean(modality, place, side, level)).clamp(max=1)
                weights = torch.maximum(weights, 1 + _NAMED * named)
        return weights

    def _mean(self, modality: str, *words: str | None) -> Tensor:
        """Where findings of a modality with these words are on the mean, 0 to 1 where most of them are."""
        key = (modality, *words)
        if key not in self._known:
            chosen = [
                place
                for place, (kind, one) in enumerate(zip(self._kinds, self._single, strict=True))
                if kind == modality and (not words or (one is not None and _fits(one, words)))
            ]
            mean = self._focus[chosen].mean(0) if chosen else torch.ones_like(self._focus[0])
            self._known[key] = mean / mean.amax().clamp_min(1e-6)
        return self._known[key]


def _fits(finding: Finding, words: Sequence[str | None]) -> bool:
    return all(word is None or word in (finding.place, finding.side, finding.shape) for word in words)


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
        "near shape": lambda one: replace(one, shape=_NEXT[one.shape]),
    }
    swapped = {
        name: [varied_caption(replace(one, findings=(swap(one.findings[0]),))) for one in single]
        for name, swap in swaps.items()
    }
    captions = [varied_caption(one) for one in ordered]
    return HeldOut(_images(ordered), captions, swapped, _focus(single), (600, 750, 900), _MEASURED)


def _texts(seed: int) -> list[str]:
    rng = np.random.default_rng([seed, 77])
    kinds = [MODALITIES[int(rng.integers(3))] for _ in range(_TEXTS)]
    shown = [[varied.random_shape(kind, rng) for _ in range(int(rng.integers(3)))] for kind in kinds]
    return [findings.caption(kind, tuple(some), rng) for kind, some in zip(kinds, shown, strict=True)]
