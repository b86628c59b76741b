"""Real frontal chest X-rays as a corpus: who is in which part, words read off the pixels, small augmentations.

Images: Kermany, Zhang, Goldbaum 2018, Mendeley Data V2, doi:10.17632/rscbjbr9sj.2, CC BY 4.0, resized. `bacterial
pneumonia` is left out of everything a base sees. Parts are by patient, as `xray_split.csv` beside this file lists
them: `base` trains the base, `site` plays a hospital, `judge` trains classifiers that judge, `test` measures.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from bases.workshop.corpus import Caption, Corpus
from embhub.diffusion.copying.augmentation import augment
from embhub.errors import UsageError

LABELS = ("normal", "bacterial pneumonia", "viral pneumonia")
LEFT_OUT = "bacterial pneumonia"
TAUGHT = tuple(label for label in LABELS if label != LEFT_OUT)
PARTS = ("base", "site", "judge", "test")
HEAD = "frontal chest x-ray"
_SHARES = (0.45, 0.70, 0.85, 1.0)
_SPLIT = Path(__file__).with_name("xray_split.csv")
_WORDS = (
    ("dark", "medium", "bright"),
    ("low contrast", "medium contrast", "high contrast"),
    ("right lung clear", "right lung grey", "right lung hazy"),
    ("left lung clear", "left lung grey", "left lung hazy"),
    ("smooth", "mottled", "coarse"),
    ("small lungs", "average lungs", "large lungs"),
)


@dataclass(frozen=True)
class Films:
    """`images` uint8 (N, 64, 64), `labels` int64 (N,) into `LABELS`, `patients` one id an image."""

    images: np.ndarray
    labels: np.ndarray
    patients: tuple[str, ...]


def split() -> dict[str, str]:
    """Patient id -> part, from the committed file."""
    with _SPLIT.open(encoding="utf-8", newline="") as file:
        return {row["patient_id"]: row["part"] for row in csv.DictReader(file)}


def make_split(patients: Sequence[str]) -> dict[str, str]:
    """How the committed file was made: the source's two series of ids (sick, healthy) shuffled and shared out apart."""
    ids = sorted(set(patients))
    random.Random(0).shuffle(ids)  # noqa: S311  # a fixed split, no secret
    parts: dict[str, str] = {}
    for sick in (True, False):
        series = [one for one in ids if one.startswith("person") is sick]
        for index, one in enumerate(series):
            place = (index + 0.5) / len(series)
            parts[one] = next(part for part, share in zip(PARTS, _SHARES, strict=True) if place < share)
    return parts


def read(data: Path, part: str, labels: Sequence[str] = LABELS) -> Films:
    """Films of one part, 64 x 64 grey, from `data`/chest-xray/index.csv (path, label, patient_id).

    Raises UsageError where the data is not there.
    """
    index = data / "chest-xray" / "index.csv"
    if not index.exists():
        raise UsageError(f"no {index}", "name the folder that holds chest-xray/ with --data")
    parts = split()
    with index.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if parts.get(row["patient_id"]) == part and row["label"] in labels]
    images = np.stack([_open(index.parent / row["path"]) for row in rows])
    return Films(
        images, np.array([LABELS.index(row["label"]) for row in rows]), tuple(row["patient_id"] for row in rows)
    )


def hospital(data: Path, label: str, count: int) -> Films:
    """The first `count` films of one label in the `site` part: what an embedding is learned from."""
    return _choose(read(data, "site", [label]), range(count))


def other_hospital(data: Path, label: str, count: int) -> Films:
    """Normal films and films of `label` in the `site` part, of patients whom `hospital` does not have."""
    films, theirs = read(data, "site", ("normal", label)), set(hospital(data, label, count).patients)
    return _choose(films, [place for place, patient in enumerate(films.patients) if patient not in theirs])


def _choose(films: Films, places: Sequence[int]) -> Films:
    chosen = [place for place in places if place < len(films.patients)]
    return Films(films.images[chosen], films.labels[chosen], tuple(films.patients[place] for place in chosen))


def corpus(data: Path, seed: int, copies: int = 8, labels: Sequence[str] = TAUGHT) -> Corpus:
    """The base's part with these labels alone: each film and `copies - 1` augmentations of it."""
    films = read(data, "base", labels)
    first = torch.from_numpy(films.images)[:, None].float() / 127.5 - 1
    generator = torch.Generator().manual_seed(seed)
    grey = torch.cat([first, *(augment(first, generator) for _ in range(copies - 1))])
    shown = films.labels.tolist() * copies
    levels = _levels(grey, len(first))

    def describe(index: int, rng: np.random.Generator) -> Caption:
        if rng.random() < 0.1:
            return Caption()
        phrases = []
        if rng.random() > 0.15:
            label = LABELS[shown[index]]
            phrases.append("pneumonia" if label != "normal" and rng.random() < 0.15 else label)
        if rng.random() < 0.7:
            phrases += [
                _WORDS[kind][levels[index, kind]] for kind in rng.permutation(len(_WORDS)) if rng.random() < 0.45
            ]
        return Caption(f"{HEAD},", (", ".join(phrases),)) if phrases else Caption(HEAD)

    chosen = torch.arange(0, len(first), max(1, len(first) // 64))[:64]
    label_of = [LABELS[shown[int(index)]] for index in chosen]
    other = {"normal": "viral pneumonia", "viral pneumonia": "normal"}
    lists = [
        [Caption(f"{HEAD},", (words[label],)) for label in label_of]
        for words in ({name: name for name in other}, other)
    ]
    images = ((grey + 1) * 127.5).round().byte().permute(0, 2, 3, 1).expand(-1, -1, -1, 3)
    words = " ".join(word for words in _WORDS for word in words)
    return Corpus(
        images=images.contiguous(),
        focus=torch.zeros(len(grey), *grey.shape[2:], dtype=torch.float16),
        group=torch.zeros(len(grey), dtype=torch.long),
        odds=torch.ones(len(grey)),
        caption=describe,
        vocabulary=[f"{HEAD}, {' '.join(LABELS)} {words}"] * 50,
        probe=(("right", "label"), chosen, lists),
        mirror=True,
    )


def _open(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        grey = image.convert("L")
        side = min(grey.size)
        left, top = (grey.width - side) // 2, (grey.height - side) // 2
        square = grey.crop((left, top, left + side, top + side))
        return np.asarray(square.resize((64, 64), Image.Resampling.LANCZOS))


def _levels(grey: Tensor, originals: int) -> np.ndarray:
    """Which third of the originals each film is in, int (N, 6): one column for each row of `_WORDS`."""
    x = grey[:, 0]
    mean, deviation = x.mean((1, 2)), x.std((1, 2))
    right, left, centre = x[:, 14:46, 9:27], x[:, 14:46, 38:56], x[:, 10:54, 27:37].mean((1, 2))
    fine = x - F.avg_pool2d(grey, 7, 1, 3)[:, 0]
    grain = (fine[:, 14:46, 9:27].std((1, 2)) + fine[:, 14:46, 38:56].std((1, 2))) / 2 / deviation
    dark = [(side < mean[:, None, None]).float().mean((1, 2)) for side in (right, left)]
    haze = [(side.flatten(1).quantile(0.3, dim=1) - centre) / deviation for side in (right, left)]
    features = torch.stack([mean, deviation, *haze, grain, (dark[0] + dark[1]) / 2], 1)
    thirds = torch.quantile(features[:originals], torch.tensor([1 / 3, 2 / 3]), dim=0)
    levels: np.ndarray = ((features > thirds[0]).long() + (features > thirds[1]).long()).numpy()
    return levels
