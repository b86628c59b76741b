"""Normal chest films at 128 pixels: who trains a base and who is held out, poses that are told, words off the pixels.

Images: Kermany, Zhang, Goldbaum 2018, Mendeley Data V2, doi:10.17632/rscbjbr9sj.2, CC BY 4.0, resized. Films labelled
pneumonia are never read for training, so that pneumonia is new to the base. The parts `judge` and `test` of
`xray_split.csv` stay apart; of the other patients one in twelve is held out, to tell when training has to stop.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from bases.workshop import xray
from bases.workshop.captions import Caption
from embhub.errors import UsageError

SIDE = 128
HEAD = xray.HEAD
_SOURCE_SIDE = 224
_OURS = ("base", "site")
_HELD_OUT_OF = 12
WORDS = (
    ("dark", "medium", "bright"),
    ("low contrast", "medium contrast", "high contrast"),
    ("smooth", "mottled", "coarse"),
    ("small lungs", "average lungs", "large lungs"),
    ("small heart", "average heart", "large heart"),
)
_POSES = "mirrored, turned clockwise, turned anticlockwise, closer, farther, darker, brighter"


@dataclass(frozen=True)
class Films:
    """`images` uint8 (N, 224, 224), `labels` int64 (N,) into `xray.LABELS`, `patients` one id an image."""

    images: Tensor
    labels: Tensor
    patients: tuple[str, ...]


@dataclass(frozen=True)
class Poses:
    """How each of N films is altered: `mirrored` bool; `turn` in degrees, clockwise; `zoom`, above 0 is closer;
    `shift` (N, 2) in half-widths; `light`, above 0 is brighter."""

    mirrored: Tensor
    turn: Tensor
    zoom: Tensor
    shift: Tensor
    light: Tensor

    def words(self, index: int) -> list[str]:
        """What of the pose is told; nothing for a film as it was taken. Shifts are too small to be told."""
        told = [(bool(self.mirrored[index]), "mirrored")]
        told += _told(float(self.turn[index]), 2.5, "turned clockwise", "turned anticlockwise")
        told += _told(float(self.zoom[index]), 0.04, "closer", "farther")
        told += _told(float(self.light[index]), 0.04, "brighter", "darker")
        return [word for is_so, word in told if is_so]


def _told(value: float, least: float, above: str, below: str) -> list[tuple[bool, str]]:
    return [(value > least, above), (value < -least, below)]


def is_held_out(patient: str) -> bool:
    """Whether a patient's normal films tell when to stop instead of training: one in twelve, by a hash of the id."""
    return hashlib.sha256(f"held out {patient}".encode()).digest()[0] % _HELD_OUT_OF == 0


def training(data: Path) -> Films:
    """The normal films that a base learns from."""
    return _read(data, _OURS, ("normal",), held_out=False)


def held_out(data: Path) -> Films:
    """Normal films of patients that no base learns from, to stop training by; not the judge's, not the test's."""
    return _read(data, _OURS, ("normal",), held_out=True)


def judges(data: Path) -> Films:
    """Films of every label in the `judge` part."""
    return _read(data, ("judge",), xray.LABELS)


def _read(data: Path, parts: Sequence[str], labels: Sequence[str], *, held_out: bool | None = None) -> Films:
    """Films of some parts and labels. Raises UsageError where `data` holds no chest-xray/index.csv."""
    index = data / "chest-xray" / "index.csv"
    if not index.exists():
        raise UsageError(f"no {index}", "name the folder that holds chest-xray/ with --data")
    split = xray.split()
    with index.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if split[row["patient_id"]] in parts and row["label"] in labels]
    if held_out is not None:
        rows = [row for row in rows if is_held_out(row["patient_id"]) == held_out]
    images = torch.from_numpy(np.stack([_grey(index.parent / row["path"]) for row in rows]))
    chosen = torch.tensor([xray.LABELS.index(row["label"]) for row in rows])
    return Films(images, chosen, tuple(row["patient_id"] for row in rows))


def _grey(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("L").resize((_SOURCE_SIDE, _SOURCE_SIDE), Image.Resampling.LANCZOS))


def plain(images: Tensor) -> Tensor:
    """Films as they were taken, (N, 3, 128, 128) in [-1, 1], of uint8 (N, 224, 224)."""
    return pose(images, still(len(images)))


def still(count: int) -> Poses:
    """The pose of films as they were taken."""
    none = torch.zeros(count)
    return Poses(none.bool(), none, none, torch.zeros(count, 2), none)


def draw_poses(count: int, generator: torch.Generator) -> Poses:
    """Random poses: a quarter mirrored; turned, moved and lit by a normal deviate, cut off at two deviations."""

    def around(deviation: float, *size: int) -> Tensor:
        return torch.randn(count, *size, generator=generator).clamp(-2, 2) * deviation

    mirrored = torch.rand(count, generator=generator) < 0.25
    return Poses(mirrored, around(3.0), around(0.06), around(0.03, 2), around(0.06))


def first_still(poses: Poses, count: int) -> Poses:
    """`poses` with the first `count` films as they were taken."""
    rest = slice(count, None)
    parts = zip(vars(still(count)).values(), vars(poses).values(), strict=True)
    return Poses(*(torch.cat([none, part[rest]]) for none, part in parts))


def chosen(poses: Poses, places: Tensor) -> Poses:
    """The poses at some places."""
    return Poses(*(part[places] for part in vars(poses).values()))


def pose(images: Tensor, poses: Poses) -> Tensor:
    """Films uint8 (N, 224, 224) under `poses`, resampled once, (N, 3, 128, 128) in [-1, 1]."""
    grey = images[:, None].float() / 127.5 - 1
    angle, size = poses.turn * torch.pi / 180, 1 / (1 + poses.zoom)
    flip = torch.where(poses.mirrored, -1.0, 1.0)
    cos, sin = torch.cos(angle) * size, torch.sin(angle) * size
    rows = [torch.stack([cos * flip, sin * flip, poses.shift[:, 0]], 1), torch.stack([-sin, cos, poses.shift[:, 1]], 1)]
    shape = [len(images), 1, SIDE * 2, SIDE * 2]
    grid = F.affine_grid(torch.stack(rows, 1), shape, align_corners=False)
    fine = F.grid_sample(grey, grid, mode="bicubic", padding_mode="border", align_corners=False)
    lit = F.avg_pool2d(fine, 2) * (1 + poses.light.view(-1, 1, 1, 1)) + poses.light.view(-1, 1, 1, 1)
    return lit.clamp(-1, 1).expand(-1, 3, -1, -1)


def levels(films: Films) -> Tensor:
    """Which third of the films each one is in, int64 (N, 5): one column for each row of words.

    The thirds are those of these films, as they were taken: brightness, contrast, grain of the lungs, how much of the
    film is dark lung, and how wide the bright middle is at the height of the heart.
    """
    grey = plain(films.images)[:, 0]
    mean, deviation = grey.mean((1, 2)), grey.std((1, 2))
    fine = grey - F.avg_pool2d(grey[:, None], 13, 1, 6)[:, 0]
    sides = (slice(28, 92), slice(18, 54)), (slice(28, 92), slice(76, 112))
    dark = (grey < mean[:, None, None]).float()
    grain = torch.stack([fine[:, rows, columns].std((1, 2)) for rows, columns in sides]).mean(0) / deviation
    lungs = torch.stack([dark[:, rows, columns].mean((1, 2)) for rows, columns in sides]).mean(0)
    band = F.avg_pool1d(grey[:, 64:88].mean(1)[:, None], 5, 1, 2)[:, 0]
    heart = (band[:, 24:104] > band.mean(1, keepdim=True)).float().mean(1)
    features = torch.stack([mean, deviation, grain, lungs, heart], 1)
    thirds = torch.quantile(features, torch.tensor([1 / 3, 2 / 3]), dim=0)
    return (features > thirds[0]).long() + (features > thirds[1]).long()


def caption(pose_words: Sequence[str], film_levels: Tensor, rng: np.random.Generator) -> Caption:
    """A fresh caption of a normal film: one in ten empty; the pose always told, other words now and then."""
    if rng.random() < 0.1:
        return Caption()
    phrases = ["normal"] if rng.random() > 0.1 else []
    if rng.random() < 0.6:
        kinds = rng.permutation(len(WORDS))
        phrases += [WORDS[kind][int(film_levels[kind])] for kind in kinds if rng.random() < 0.4]
    phrases += pose_words
    return Caption(f"{HEAD},", (", ".join(phrases),)) if phrases else Caption(HEAD)


def vocabulary() -> list[str]:
    """Texts to learn a tokenizer from."""
    words = " ".join(word for words in WORDS for word in words)
    return [f"{HEAD}, {' '.join(xray.LABELS)} {words} {_POSES}"] * 50
