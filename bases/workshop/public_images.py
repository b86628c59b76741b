"""Public images that bases learn from: sets, and which patients serve which purpose.

`python -m bases.workshop.public_images NAME --data DATA --out CSV` writes those of one base as a manifest for
`embhub base train`.

No caption has a word for a finding: that is what an embedding brings. Labels decide how often an image is shown, and
which healthy ones are called normal. Folders, licences and citations are those
of the data's own README files. Patients of the parts `site`, `judge` and `test` are never learned from.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from bases.workshop import xray
from bases.workshop.facts import facts
from embhub.diffusion.adaptation.base_training.material import Look, Material, TrainingImages, of_images
from embhub.errors import UsageError

SOURCE_SIDE = 224
_SHARES = (("base", 0.55), ("site", 0.75), ("judge", 0.87), ("test", 1.0))
_HELD_OUT_OF = 12


@dataclass(frozen=True)
class Source:
    """A folder of images with index.csv (path, label, patient_id), its label without a finding, a word that all its
    captions may have, and a label that no base learns from, with all patients who have it."""

    folder: str
    healthy: str
    word: str = ""
    left_out: str = ""


@dataclass(frozen=True)
class PublicSet:
    """What a base of one modality learns from. `head` begins each caption; `finding_share` is how often an image with
    a finding is shown, 0 for never, None for as it comes and without the word "normal"; `colours` are the channels, 1
    or 3."""

    name: str
    head: str
    sources: tuple[Source, ...]
    finding_share: float | None = 0.12
    colours: int = 1


SETS = {
    one.name: one
    for one in (
        PublicSet(
            "builtin-xray",
            xray.HEAD,
            (Source("chest-xray", "normal", "child"), Source("chest-xray-nih", "no finding", "adult")),
            finding_share=0.0,  # ADR 0004
        ),
        PublicSet(
            "builtin-ultrasound",
            "breast ultrasound",
            (Source("breast-ultrasound-busi", "normal", left_out="malignant mass"),),
            finding_share=None,  # few are normal: a base that was shown them often generated copies of them
        ),
        PublicSet("brain-mri", "axial flair mri of the brain", (Source("brain-mri-lgg", "no lesion"),)),
        PublicSet("colonoscopy", "colonoscopy", (Source("colonoscopy-kvasir", "mucosa without polyp"),), colours=3),
        PublicSet("histology", "colon histology", (Source("histology-lc25000", "benign colonic mucosa"),), colours=3),
    )
}


def part_of(folder: str, patient: str, label: str) -> str:
    """Which part an image serves: base, held-out (it says when training stops), site, judge or test.

    Chest films of children have a committed split, in which the base also has the normal films of `site`. Patients of
    all other sets are shared out by a hash of their id.
    """
    if folder == "chest-xray":
        part = xray.split()[patient]
        part = "base" if part == "site" and label == xray.TAUGHT else part
    else:
        place = _hash(f"part {patient}") / 256
        part = next(name for name, above in _SHARES if place < above)
    return "held-out" if part == "base" and is_held_out(patient) else part


def is_held_out(patient: str) -> bool:
    """Whether a patient's images tell when to stop instead of training: one in twelve, by a hash of the id."""
    return _hash(f"held out {patient}") % _HELD_OUT_OF == 0


def _hash(text: str) -> int:
    return hashlib.sha256(text.encode()).digest()[0]


def rows_of(data: Path, chosen: PublicSet, parts: Sequence[str]) -> list[tuple[Source, dict[str, str]]]:
    """The rows of the index files whose images serve one of `parts`.

    Raises UsageError where `data` holds no such folder.
    """
    found = []
    for source in chosen.sources:
        index = data / source.folder / "index.csv"
        if not index.exists():
            raise UsageError(f"no {index}", f"name the folder that holds {source.folder}/ with --data")
        with index.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        left_out = {row["patient_id"] for row in rows if row["label"] == source.left_out}
        found += [(source, row) for row in rows if _part(source, row, left_out) in parts]
    return found


def _part(source: Source, row: Mapping[str, str], left_out: Collection[str]) -> str:
    """The part of an image. Patients who are left out of the base serve the next part; the base has those of `site`."""
    part = part_of(source.folder, row["patient_id"], row["label"])
    if not source.left_out:
        return part
    if row["patient_id"] in left_out:
        return {"base": "site", "held-out": "site", "site": "judge"}.get(part, part)
    return ("held-out" if is_held_out(row["patient_id"]) else "base") if part == "site" else part


def rows_seen(data: Path, chosen: PublicSet) -> list[tuple[Source, dict[str, str]]]:
    """The rows of images that training showed, and of those that said when to stop. Raises as `rows_of` does."""
    shown = rows_of(data, chosen, ("base",))
    if chosen.finding_share == 0:
        shown = [(source, row) for source, row in shown if row["label"] == source.healthy]
    return shown + rows_of(data, chosen, ("held-out",))


def read(data: Path, chosen: PublicSet, *parts: str) -> TrainingImages:
    """All images of some parts. Raises UsageError where the data is not there."""
    return read_rows(data, chosen, rows_of(data, chosen, parts))


def read_rows(data: Path, chosen: PublicSet, rows: Sequence[tuple[Source, dict[str, str]]]) -> TrainingImages:
    """The images of these rows, their middle square at 224 x 224."""
    images = [xray.open_square(data / source.folder / row["path"], chosen.colours, SOURCE_SIDE) for source, row in rows]
    findings = torch.tensor([row["label"] != source.healthy for source, row in rows])
    return TrainingImages(
        torch.from_numpy(np.stack(images)),
        tuple(row["patient_id"] for _, row in rows),
        tuple(source.word for source, _ in rows),
        None if chosen.finding_share is None else findings,
    )


def material(name: str, data: Path, seed: int = 0, device: str = "cpu") -> Material:
    """What the base `name` learns from.

    Raises KeyError for an unknown name, UsageError where the data is not there.
    """
    chosen = SETS[name]
    look = Look(chosen.head, chosen.finding_share, chosen.head == xray.HEAD)
    taught, apart = read(data, chosen, "base"), read(data, chosen, "held-out")
    return of_images(name, look, taught, apart, facts(name), seed=seed, device=device)


def _caption(chosen: PublicSet, source: Source, label: str) -> str:
    """What a manifest says of an image: the word of its source, and "normal" where the set has that word."""
    normal = "normal" if label == source.healthy and chosen.finding_share is not None else ""
    return ", ".join(filter(None, (source.word, normal)))


def main(argv: Sequence[str] | None = None) -> None:
    """Write the manifest of a base: of which images it learns, and which say when to stop."""
    parser = argparse.ArgumentParser(prog="python -m bases.workshop.public_images", description=__doc__)
    parser.add_argument("name", choices=sorted(SETS))
    parser.add_argument("--data", type=Path, default=xray.default_data(), help="folder of the public images")
    parser.add_argument("--out", type=Path, required=True, help="the manifest, CSV")
    asked = parser.parse_args(argv)
    rows = rows_seen(asked.data, SETS[asked.name])
    with asked.out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "patient_id", "caption"))
        for source, row in rows:
            path = (asked.data / source.folder / row["path"]).resolve()
            writer.writerow((path, row["patient_id"], _caption(SETS[asked.name], source, row["label"])))


if __name__ == "__main__":
    main()
