"""What a course learns from and is measured on, alike for public images and for phantoms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from embhub.diffusion.adaptation.base_training import pixel_words, poses
from embhub.diffusion.adaptation.base_training.captions import Caption

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
    facts: Mapping[str, Any]
    times: Times = ((0, 1000, 0.75), (780, 1000, 0.25))
    colours: int = 1
    pool_steps: int = 5000
    widths: tuple[int, ...] = (64, 96, 128)
    zero_terminal_snr: bool = False


@dataclass(frozen=True)
class TrainingImages:
    """Images uint8 (N, C, S, S), C 1 or 3, and what is known of each one.

    `patients` says whose it is, `phrases` is a phrase that its captions may have, empty for none. `findings` bool (N,)
    is whether it shows a finding, where that is known.
    """

    images: Tensor
    patients: tuple[str, ...]
    phrases: tuple[str, ...]
    findings: Tensor | None = None


@dataclass(frozen=True)
class Look:
    """What all images of a base have in common. `head` begins each caption; `finding_share` is how often an image with
    a finding is shown, None: as it comes; `chest` has words for lungs and heart read off the pixels, too."""

    head: str
    finding_share: float | None = None
    chest: bool = False


def of_images(
    name: str,
    look: Look,
    taught: TrainingImages,
    apart: TrainingImages,
    facts: Mapping[str, Any],
    *,
    seed: int = 0,
    device: str = "cpu",
) -> Material:
    """Material of images: each pool holds every one as it was taken and in five random poses.

    `apart` are images of other patients, which say when training stops. Images are posed on `device`.
    """
    captions, count, pixels = Captions(look, taught), len(taught.patients), taught.images.to(device)

    def draw(number: int, generator: torch.Generator) -> Tensor:
        places = torch.randint(count, (number,), generator=generator)
        return poses.pose(pixels[places.to(device)], poses.draw_poses(number, generator))

    def pool(number: int) -> Pool:
        generator = torch.Generator().manual_seed((seed * 7919 + number) % 2**63)
        drawn = poses.first_still(poses.draw_poses(count * _COPIES, generator), count)
        return Pool(
            count=count * _COPIES,
            images=lambda places: poses.pose(pixels[(places % count).to(device)], poses.chosen(drawn, places)),
            caption=lambda place, rng: captions(place % count, drawn.words(place), rng),
            odds=_odds(taught, look.finding_share).repeat(_COPIES),
        )

    def said(phrase: str, *others: str) -> Caption:
        words = ", ".join(filter(None, (phrase, *others)))
        return Caption(f"{look.head},", (words,)) if words else Caption(look.head)

    swapped = {wrong: [said(phrase, wrong) for phrase in apart.phrases] for wrong in ("mirrored", "closer", "brighter")}
    shown = HeldOut(poses.plain(apart.images), [said(phrase) for phrase in apart.phrases], swapped)
    return Material(
        name,
        draw,
        pool,
        shown,
        captions.vocabulary(),
        facts,
        colours=taught.images.shape[1],
        widths=(96, 96, 96),
        zero_terminal_snr=True,
    )


def _odds(images: TrainingImages, share: float | None) -> Tensor:
    """Odds (N,) of images, so that those with a finding are drawn in `share` of cases."""
    if images.findings is None or share is None:
        return torch.ones(len(images.patients))
    sick = images.findings.float()
    return sick * share / sick.sum().clamp(min=1) + (1 - sick) * (1 - share) / (1 - sick).sum().clamp(min=1)


class Captions:
    """Captions of images: head, the image's own phrase, words read off the pixels, the pose.

    One in ten is empty. An image that is known to show no finding is called normal now and then, so that the word can
    be asked for. A word of pixels that images with a finding have more often than others is told of them less often:
    then it says no more of a finding than a caption without it, and only an embedding can ask for one.
    """

    def __init__(self, look: Look, images: TrainingImages) -> None:
        self._head, self._phrases, self._findings = look.head, images.phrases, images.findings
        grey = poses.plain(images.images).mean(1)
        self._rows = (*(pixel_words.CHEST_LEVELS if look.chest else pixel_words.LEVELS), *pixel_words.GROUPS)
        kinds = torch.from_numpy(pixel_words.groups(grey))
        self._kinds = torch.cat([pixel_words.levels(grey, look.chest), kinds], 1).numpy()
        self._told = _told_of_findings(self._kinds, images.findings)

    def __call__(self, place: int, pose_words: Sequence[str], rng: np.random.Generator) -> Caption:
        """A fresh caption of image `place` in a pose."""
        if rng.random() < 0.1:
            return Caption()
        phrase = self._phrases[place]
        healthy, sick = (self._findings is not None and bool(self._findings[place]) is kind for kind in (False, True))
        phrases = [phrase] if phrase and rng.random() < 0.7 else []
        phrases += ["normal"] if healthy and rng.random() < 0.3 else []
        if rng.random() < 0.7:
            for kind in rng.permutation(len(self._rows)):
                group = self._kinds[place, kind]
                if rng.random() < 0.4 * (self._told[kind][group] if sick else 1.0):
                    phrases.append(self._rows[kind][group])
        phrases += pose_words
        return Caption(f"{self._head},", (", ".join(phrases),)) if phrases else Caption(self._head)

    def vocabulary(self) -> list[str]:
        """Texts to learn a tokenizer from."""
        words = " ".join(word for row in self._rows for word in row)
        return [f"{self._head}, {' '.join(sorted(set(self._phrases)))} normal {words} {poses.POSES}"] * 50


def _told_of_findings(kinds: NDArray[np.int64], findings: Tensor | None) -> list[NDArray[np.float64]]:
    """How much less often each word is told of images with a finding, 0 to 1: one row for each column of `kinds`."""
    shown = np.zeros(len(kinds), bool) if findings is None else findings.numpy()
    rows = []
    for column in kinds.T:
        count = int(column.max()) + 1
        sick = np.bincount(column[shown], minlength=count) / max(1, shown.sum())
        healthy = np.bincount(column[~shown], minlength=count) / max(1, (~shown).sum())
        rows.append(np.minimum(1.0, healthy / np.maximum(sick, 1e-9)))
    return rows
