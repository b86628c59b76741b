"""What a course learns from and is measured on, alike for films and for phantoms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bases.workshop import films
from bases.workshop.captions import Caption

Times = Sequence[tuple[int, int, float]]
"""Spans of time steps, from and to (not including it), and the share of a batch drawn evenly from each."""

_COPIES = 6


@dataclass(frozen=True)
class Pool:
    """Some thousands of training images: `images(places)` in [-1, 1], a fresh `caption(place, rng)` of each one, and
    `odds` (N,) of being drawn. `weights`, where given, says of a caption which places of a latent count more, as
    (1, 16, 16): what is known of an image from its caption alone leaves the optimum where it is."""

    count: int
    images: Callable[[Tensor], Tensor]
    caption: Callable[[int, np.random.Generator], Caption]
    odds: Tensor
    weights: Callable[[Caption], Tensor] | None = None


@dataclass(frozen=True)
class HeldOut:
    """Images (N, 3, 128, 128) that nothing is learned from, with their captions; `swapped` names wrong captions of the
    first M of them, by what is wrong; `focus` (M, 1, 16, 16), where given, is where that shows, and `probed_at` the
    times at which it is looked for. The held-out loss is the mean over `times`."""

    images: Tensor
    captions: Sequence[Caption]
    swapped: Mapping[str, Sequence[Caption]]
    focus: Tensor | None = None
    probed_at: tuple[int, ...] = (800, 900)
    times: tuple[int, ...] = (50, 200, 350, 500, 650, 800, 900, 980)


@dataclass(frozen=True)
class Material:
    """`draw(count, generator)` gives images for the autoencoder, `pool(number)` those of the denoiser, one pool after
    another; both the same for the same seed. `times` says which time steps a denoiser learns at, `pool_steps` for how
    many of its steps a pool serves, `widths` the channels of its levels.
    Images are (N, 3, S, S), or (N, 4, S, S) where a last channel, 0 to 1, says what has to be rebuilt with most
    care. `colours` are the channels that a critic has to see, 1 where all are alike."""

    name: str
    draw: Callable[[int, torch.Generator], Tensor]
    pool: Callable[[int], Pool]
    held_out: HeldOut
    vocabulary: Sequence[str]
    times: Times = ((0, 1000, 0.75), (780, 1000, 0.25))
    colours: int = 1
    pool_steps: int = 5000
    widths: tuple[int, ...] = (64, 96, 128)


def of_films(data: Path, seed: int = 0) -> Material:
    """Normal films: each pool holds every film as it was taken and in five random poses."""
    taught, apart = films.training(data), films.held_out(data)
    kinds, count = films.levels(taught), len(taught.patients)

    def draw(number: int, generator: torch.Generator) -> Tensor:
        chosen = torch.randint(count, (number,), generator=generator)
        return films.pose(taught.images[chosen], films.draw_poses(number, generator))

    def pool(number: int) -> Pool:
        generator = torch.Generator().manual_seed(seed * 7919 + number)
        poses = films.first_still(films.draw_poses(count * _COPIES, generator), count)
        return Pool(
            count=count * _COPIES,
            images=lambda places: films.pose(taught.images[places % count], films.chosen(poses, places)),
            caption=lambda place, rng: films.caption(poses.words(place), kinds[place % count], rng),
            odds=torch.ones(count * _COPIES),
        )

    right = [Caption(f"{films.HEAD},", ("normal",))] * len(apart.patients)
    swapped = {
        word: [Caption(f"{films.HEAD},", (f"normal, {word}",))] * len(apart.patients)
        for word in ("mirrored", "closer", "brighter")
    }
    shown = HeldOut(films.plain(apart.images), right, swapped)
    return Material("builtin-xray", draw, pool, shown, films.vocabulary())
