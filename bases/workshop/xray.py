"""Real frontal chest X-rays: who is in which part, and the films of a part, of a hospital, of another hospital.

Images: Kermany, Zhang, Goldbaum 2018, Mendeley Data V2, doi:10.17632/rscbjbr9sj.2, CC BY 4.0, resized. Parts are by
patient, as `xray_split.csv` beside this file lists them. The base learns from normal films of `base` and `site`, as
`public_images` says; films with pneumonia of `site` play a hospital, `judge` trains classifiers that judge, `test`
measures.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

import numpy as np
from PIL import Image

from embhub.errors import UsageError

LABELS = ("normal", "bacterial pneumonia", "viral pneumonia")
TAUGHT, LEFT_OUT = "normal", "bacterial pneumonia"
SIDE = 128
PARTS = ("base", "site", "judge", "test")
HEAD = "frontal chest x-ray"
_SPLIT = Path(__file__).with_name("xray_split.csv")


@dataclass(frozen=True)
class Films:
    """`images` uint8 (N, 128, 128), `labels` int64 (N,) into `LABELS`, `patients` one id an image."""

    images: np.ndarray
    labels: np.ndarray
    patients: tuple[str, ...]


def default_data() -> Path:
    """Where `chest-xray/` lies: in EMBHUB_TEST_DATA, else in `../shared/data` beside the repository."""
    return Path(os.environ.get("EMBHUB_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data")


@cache
def split() -> Mapping[str, str]:
    """Patient id -> part, from the committed file."""
    with _SPLIT.open(encoding="utf-8", newline="") as file:
        return MappingProxyType({row["patient_id"]: row["part"] for row in csv.DictReader(file)})


def read(data: Path, part: str, labels: Sequence[str] = LABELS, *, side: int = SIDE) -> Films:
    """Films of one part, `side` x `side` grey, from `data`/chest-xray/index.csv (path, label, patient_id).

    Raises UsageError where the data is not there.
    """
    index = data / "chest-xray" / "index.csv"
    if not index.exists():
        raise UsageError(f"no {index}", "name the folder that holds chest-xray/ with --data")
    parts = split()
    with index.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if parts.get(row["patient_id"]) == part and row["label"] in labels]
    images = np.stack([open_square(index.parent / row["path"], 1, side)[0] for row in rows])
    return Films(
        images, np.array([LABELS.index(row["label"]) for row in rows]), tuple(row["patient_id"] for row in rows)
    )


def hospital(data: Path, label: str, count: int) -> Films:
    """The first `count` films of one label in the `site` part: what an embedding is learned from."""
    return _choose(read(data, "site", [label]), range(count))


def other_hospital(data: Path, label: str, count: int) -> Films:
    """Films of `label` in the `site` part, of patients whom `hospital` does not have, and normal films of the `judge`
    part: the base learned from the normal ones of `site`."""
    sick, theirs = read(data, "site", (label,)), set(hospital(data, label, count).patients)
    sick = _choose(sick, [place for place, patient in enumerate(sick.patients) if patient not in theirs])
    normal = read(data, "judge", (TAUGHT,))
    images, labels = (np.concatenate(both) for both in ((normal.images, sick.images), (normal.labels, sick.labels)))
    return Films(images, labels, normal.patients + sick.patients)


def _choose(films: Films, places: Sequence[int]) -> Films:
    chosen = [place for place in places if place < len(films.patients)]
    return Films(films.images[chosen], films.labels[chosen], tuple(films.patients[place] for place in chosen))


def open_square(path: Path, colours: int, side: int) -> np.ndarray:
    """The middle square of an image, uint8 (1 or 3, side, side)."""
    with Image.open(path) as image:
        taken = image.convert("L" if colours == 1 else "RGB")
        least = min(taken.size)
        left, top = (taken.width - least) // 2, (taken.height - least) // 2
        square = taken.crop((left, top, left + least, top + least))
        pixels = np.asarray(square.resize((side, side), Image.Resampling.LANCZOS))
    return pixels[None] if colours == 1 else pixels.transpose(2, 0, 1)
