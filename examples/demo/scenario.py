"""What is played: which finding, whose images, in whose words; with phantoms or real chest X-rays."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

Pictures = np.ndarray  # uint8 (N, H, W, 3)


@dataclass(frozen=True)
class Words:
    """What a person says of the data set; everything else on the card is computed.

    `generic` is the nearest prompt that the base was taught, `normal` the one for images without the finding,
    `attribution` thanks the source of the images. `n_public` patients are declared of those trained on.
    """

    title: str
    lead: str
    footer: str
    repository: str
    token: str
    caption: str
    base: str
    generic: str
    normal: str
    card: Mapping[str, object]
    n_public: int
    attribution: str = ""


@dataclass(frozen=True)
class Scale:
    """How much is played.

    `train_steps` and `n_public` None take what the play says; `seeds` are draws of the few real images.
    """

    train_steps: int | None = None
    images: int = 400
    n_public: int | None = None
    drawn: int = 48
    marked: int = 6
    seeds: int = 5
    judge_examples: int = 1500
    judge_steps: int = 700
    classifier_steps: int = 80
    test_images: int = 300


FULL = Scale()
SHORT = Scale(
    train_steps=4, images=120, n_public=70, drawn=2, marked=2, seeds=2, judge_examples=40, judge_steps=4,
    classifier_steps=4, test_images=20,
)  # fmt: skip
"""Every step in a few minutes, for the tests: its pictures and figures mean nothing."""


@dataclass(frozen=True)
class Material:
    """The images of a play.

    `manifest` is what site A trains from; `judge` says for uint8 images (N, H, W, 3) which show the finding (bool, N);
    `pool` and `test` are real images with labels (1 = finding), 0 for normal ones; test patients are in nothing else.
    `noise` (standard deviation in half ranges) covers every image of the classifier comparison, so that few real images
    leave room; it was chosen from real-only results.
    """

    manifest: Path
    where: str
    real: Pictures
    judge: Callable[[Pictures], np.ndarray]
    pool: tuple[Pictures, np.ndarray]
    test: tuple[Pictures, np.ndarray]
    noise: float


def read_pictures(manifest: Path, label: str | None = None) -> Pictures:
    """Images of a manifest as uint8 (N, H, W, 3); all, or those of one label."""
    with manifest.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if label is None or row["label"] == label]
    return np.stack([np.asarray(Image.open(manifest.parent / row["path"]).convert("RGB")) for row in rows])


def read_folder(folder: Path) -> Pictures:
    """PNG files of a folder, in name order, as uint8 (N, H, W, 3)."""
    return np.stack([np.asarray(Image.open(path).convert("RGB")) for path in sorted(folder.glob("*.png"))])
