"""What a course learns from and is measured on, alike for public images and for phantoms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bases.workshop import pixel_words, poses, xray
from bases.workshop.captions import Caption
from bases.workshop.public_images import SETS, PublicImages, PublicSet, read

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
    many of its steps a pool serves, `widths` the channels of its levels;
    `zero_terminal_snr` is that of `noising.noise_schedule`.
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
    zero_terminal_snr: bool = False


def of_public(name: str, data: Path, seed: int = 0, device: str = "cpu", *, findings: bool = True) -> Material:
    """A set of public images: each pool holds every image as it was taken and in five random poses.

    Images are posed on `device`. Without `findings` healthy images alone are shown, for a comparison. Raises KeyError for an unknown name, UsageError where the data is not there.
    """
    chosen = SETS[name]
    taught, apart = read(data, chosen, "base"), read(data, chosen, "held-out")
    captions, count, pixels = Captions(chosen, taught), len(taught.patients), taught.images.to(device)

    def draw(number: int, generator: torch.Generator) -> Tensor:
        places = torch.randint(count, (number,), generator=generator)
        return poses.pose(pixels[places.to(device)], poses.draw_poses(number, generator))

    def pool(number: int) -> Pool:
        generator = torch.Generator().manual_seed(seed * 7919 + number)
        drawn = poses.first_still(poses.draw_poses(count * _COPIES, generator), count)
        return Pool(
            count=count * _COPIES,
            images=lambda places: poses.pose(pixels[(places % count).to(device)], poses.chosen(drawn, places)),
            caption=lambda place, rng: captions(place % count, drawn.words(place), rng),
            odds=_odds(taught.findings, chosen.finding_share if findings else 0.0).repeat(_COPIES),
        )

    right = [Caption(f"{chosen.head},", (word,)) if word else Caption(chosen.head) for word in apart.words]
    swapped = {
        wrong: [Caption(f"{chosen.head},", (", ".join(filter(None, (word, wrong))),)) for word in apart.words]
        for wrong in ("mirrored", "closer", "brighter")
    }
    shown = HeldOut(poses.plain(apart.images), right, swapped)
    return Material(
        name,
        draw,
        pool,
        shown,
        captions.vocabulary(),
        colours=chosen.colours,
        widths=(96, 96, 96),
        zero_terminal_snr=True,
    )


def _odds(findings: Tensor, share: float) -> Tensor:
    """Odds (N,) of images, so that those with a finding are drawn in `share` of cases."""
    sick = findings.float()
    return sick * share / sick.sum().clamp(min=1) + (1 - sick) * (1 - share) / (1 - sick).sum().clamp(min=1)


class Captions:
    """Captions of public images: head, a word that all of a source have, words read off the pixels, the pose.

    One in ten is empty. An image without a finding is called normal now and then, so that the word can be asked for.
    A word of pixels that images with a finding have more often than others is told of them less often: then it says
    no more of a finding than a caption without it, and only an embedding can ask for one.
    """

    def __init__(self, chosen: PublicSet, images: PublicImages) -> None:
        self._head, self._images = chosen.head, images
        grey = poses.plain(images.images).mean(1)
        chest = chosen.head == xray.HEAD
        self._rows = (*(pixel_words.CHEST_LEVELS if chest else pixel_words.LEVELS), *pixel_words.GROUPS)
        kinds = torch.from_numpy(pixel_words.groups(grey))
        self._kinds = torch.cat([pixel_words.levels(grey, chest), kinds], 1).numpy()
        self._told = _told_of_findings(self._kinds, images.findings.numpy())

    def __call__(self, place: int, pose_words: Sequence[str], rng: np.random.Generator) -> Caption:
        """A fresh caption of image `place` in a pose."""
        if rng.random() < 0.1:
            return Caption()
        word, healthy = self._images.words[place], not self._images.findings[place]
        phrases = [word] if word and rng.random() < 0.7 else []
        phrases += ["normal"] if healthy and rng.random() < 0.3 else []
        if rng.random() < 0.7:
            for kind in rng.permutation(len(self._rows)):
                group = self._kinds[place, kind]
                if rng.random() < 0.4 * (1.0 if healthy else self._told[kind][group]):
                    phrases.append(self._rows[kind][group])
        phrases += pose_words
        return Caption(f"{self._head},", (", ".join(phrases),)) if phrases else Caption(self._head)

    def vocabulary(self) -> list[str]:
        """Texts to learn a tokenizer from."""
        words = " ".join(word for row in self._rows for word in row)
        labels = " ".join(sorted({*self._images.labels, *self._images.words}))
        return [f"{self._head}, {labels} normal {words} {poses.POSES}"] * 50


def _told_of_findings(kinds: NDArray[np.int64], findings: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """How much less often each word is told of images with a finding, 0 to 1: one row for each column of `kinds`."""
    rows = []
    for column in kinds.T:
        count = int(column.max()) + 1
        sick = np.bincount(column[findings], minlength=count) / max(1, findings.sum())
        healthy = np.bincount(column[~findings], minlength=count) / max(1, (~findings).sum())
        rows.append(np.minimum(1.0, healthy / np.maximum(sick, 1e-9)))
    return rows
