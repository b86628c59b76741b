"""`python -m bench.glioma --base DIR`: put gliomas into real brain slices at a place; does a segmenter find them there?

`embhub base train` made the base from FLAIR slices of other patients, with and without a glioma and without a word for
it (docs/explanation/worth-in-patients.md). The embedding has 100 slices of patients whom the base never saw. Slices
without a lesion are of a third group of patients. A place is the real mask of another patient of that group, where it
lies inside the brain. The segmenter was taught with real masks of the base's patients and of a fourth group, so it has
no patient of the embedding or of the slices.

*Inserted* is inpainted with the embedding. *Nearest words* and *redrawn healthy* have the same place inpainted after
other prompts of the base. Guidance was chosen by looking at pictures of the fourth group (`--look DIR`).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save_file

from bases.workshop.counting import Pictures
from bases.workshop.public_images import SETS, rows_of
from bases.workshop.xray import SIDE, default_data, open_square
from bench import segmenter
from bench.results_file import ResultsFile, Row
from bench.segmenter import Masks, Segmenter
from bench.worth import modalities
from bench.worth_material import TOKEN, Modality, find_words, learn_from_site, site
from embhub.diffusion.generation.generation import Studio, prepare
from embhub.diffusion.generation.redrawing import arrange, redraw_scenes
from embhub.diffusion.training.per_layer import insert
from embhub.diffusion.training.precision import in_bfloat16, precision

RESULTS = Path(__file__).parent / "results" / "glioma.json"
SET, FOLDER = "brain-mri", "brain-mri-lgg"
GUIDANCE = 8.0
LEAST_BRAIN = 0.9
"""Share of a mask that must lie on brain, brighter than DARK, for it to be a place in that slice."""
DARK = 40
SEED, LOOK_SEED, LOOK, RESAMPLED = 5000, 900, 8, 2000
REAL, UNTOUCHED, HEALTHY, WORDS, INSERTED = (
    "real gliomas", "untouched", "redrawn healthy", "nearest words", "inserted",
)  # fmt: skip


@dataclass(frozen=True)
class Slices:
    """Pictures uint8 (N, 128, 128, 3), masks bool (N, 128, 128), empty without a lesion, and whose they are."""

    pictures: Pictures
    masks: Masks
    patients: tuple[str, ...]

    def where(self, chosen: NDArray[np.bool_]) -> Slices:
        """Those that are chosen."""
        patients = tuple(np.array(self.patients)[chosen])
        return Slices(self.pictures[chosen], self.masks[chosen], patients)

    @property
    def sick(self) -> NDArray[np.bool_]:
        """Which have a lesion."""
        return np.asarray(self.masks.any((1, 2)))


def read(data: Path, *parts: str) -> Slices:
    """All slices of some parts. Raises UsageError where the data is not there."""
    rows = [row for _, row in rows_of(data, SETS[SET], parts)]
    grey = np.stack([open_square(data / FOLDER / row["path"], 1, SIDE)[0] for row in rows])
    empty = np.zeros((SIDE, SIDE), bool)
    masks = [_open_mask(data / FOLDER / row["mask_path"]) if row["mask_path"] else empty for row in rows]
    return Slices(np.repeat(grey[..., None], 3, 3), np.stack(masks), tuple(row["patient_id"] for row in rows))


def _open_mask(path: Path) -> NDArray[np.bool_]:
    with Image.open(path) as image:
        small = image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(small) > 127


def place(slices: Slices, seed: int) -> Slices:
    """The slices without a lesion, each with the mask of another patient's that lies inside its brain; those for which
    there is none are left out."""
    rng = np.random.default_rng(seed)
    healthy, lesions = slices.where(~slices.sick), slices.where(slices.sick)
    masks = np.zeros_like(healthy.masks)
    for number, (picture, patient) in enumerate(zip(healthy.pictures, healthy.patients, strict=True)):
        brain = picture[..., 0] > DARK
        for other in rng.permutation(len(lesions.masks)):
            mask = lesions.masks[other]
            if lesions.patients[other] != patient and (mask & brain).sum() >= LEAST_BRAIN * mask.sum():
                masks[number] = mask
                break
    placed = replace(healthy, masks=masks)
    return placed.where(placed.sick)


@dataclass(frozen=True)
class Painter:
    """A base with the learned rows of a glioma, and the base's nearest words."""

    studio: Studio
    one: Modality
    rows: Mapping[str, torch.Tensor]
    words: str

    @contextmanager
    def prompt(self, arm: str) -> Iterator[str]:
        """What an arm is drawn after; while open, the base knows the rows that it needs."""
        if arm != INSERTED:
            yield f"{self.one.prompt}, normal" if arm == HEALTHY else self.words
            return
        inserted = insert(self.studio.pipe, TOKEN, self.rows)
        with inserted.active():
            yield inserted.expand(f"{self.one.prompt}, {TOKEN}")

    def paint(self, slices: Slices, arm: str, seed: int) -> Pictures:
        """The slices with their masks inpainted."""
        scenes = [
            arrange(Image.fromarray(picture), mask) for picture, mask in zip(slices.pictures, slices.masks, strict=True)
        ]
        pipe = self.studio.pipe
        with self.prompt(arm) as prompt, precision(pipe, mixed=in_bfloat16("cpu")):
            return np.stack([np.asarray(one) for one in redraw_scenes(self.studio, scenes, prompt, seed=seed)])


def load(base: Path, data: Path, kept: Path) -> Painter:
    """A base, what it learns from hospital A's gliomas, and its words that are nearest; in the folder `kept` once
    found."""
    one = next(one for one in modalities() if one.set == SET)
    studio = replace(prepare(base=base, device="cpu"), guidance=GUIDANCE)
    known = site(data, one)
    rows, words = kept / "rows.safetensors", kept / "words.txt"
    if not rows.exists():
        kept.mkdir(parents=True, exist_ok=True)
        save_file(learn_from_site(studio.pipe, one, known, 0, None), rows)
    if not words.exists():
        words.write_text(find_words(studio.pipe, one, known), encoding="utf-8")
    return Painter(studio, one, load_file(rows), words.read_text(encoding="utf-8"))


def measure(judge: Segmenter, before: Pictures, after: Slices) -> Row:
    """Dice of the segmentation with the masks, the share of images with at least one half, what is marked outside, and
    the share of the change that lies inside, each with the 95 % interval of a bootstrap over patients."""
    found = judge.mark(after.pictures)
    change = np.abs(after.pictures.astype(float) - before).sum(3)
    whole = change.sum((1, 2))
    inside = (change * after.masks).sum((1, 2)) / np.maximum(whole, 1)
    agreement = segmenter.dice(found, after.masks)
    outside = (found & ~after.masks).sum((1, 2)) / after.masks.sum((1, 2))
    row = {
        "Dice": _with_interval(agreement, after.patients),
        "found": _with_interval(agreement >= 0.5, after.patients),
        "outside": _with_interval(outside, after.patients),
    }
    if whole.all():
        row["change inside"] = _with_interval(inside, after.patients)
    return row | {"images": len(found), "patients": len(set(after.patients))}


def _with_interval(values: NDArray[Any], patients: tuple[str, ...]) -> list[float]:
    rng = np.random.default_rng(0)
    people = sorted(set(patients))
    groups = [values[np.array(patients) == one] for one in people]
    means = [
        np.concatenate([groups[place] for place in rng.integers(len(people), size=len(people))]).mean()
        for _ in range(RESAMPLED)
    ]
    low, high = np.percentile(means, [2.5, 97.5])
    return [round(float(value), 3) for value in (values.mean(), low, high)]


def table(rows: list[Row]) -> str:
    """A row for each set of images."""
    lines = [
        "| images | number | patients | Dice with the mask | Dice of .5 or more "
        "| marked outside, in mask sizes | share of change inside |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        change = _words(row["change inside"], "{:.0%}") if "change inside" in row else "-"
        lines.append(
            f"| {row['set']} | {row['images']} | {row['patients']} | {_words(row['Dice'], '{:.2f}')} "
            f"| {_words(row['found'], '{:.0%}')} | {_words(row['outside'], '{:.2f}')} | {change} |"
        )
    return "\n".join(lines)


def _words(values: list[float], form: str) -> str:
    mean, low, high = (form.format(value) for value in values)
    return f"{mean} [{low}, {high}]"


def study(judge: Segmenter, painter: Painter, test: Slices, file: ResultsFile) -> None:
    """Every set that is not there yet."""
    have = {row["set"] for row in file.rows}
    placed = place(test, SEED)
    real = test.where(test.sick)
    for name in (REAL, UNTOUCHED, HEALTHY, WORDS, INSERTED):
        if name in have:
            continue
        before = after = real if name == REAL else placed
        if name in (HEALTHY, WORDS, INSERTED):
            after = replace(placed, pictures=painter.paint(placed, name, SEED))
        file.keep({"set": name, **measure(judge, before.pictures, after)})
        print(table(file.rows[-1:]).splitlines()[-1], flush=True)


def look(painter: Painter, slices: Slices, folder: Path) -> None:
    """Pictures of other patients and seeds, a column each; for this machine alone."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    placed = place(slices, LOOK_SEED)
    some = placed.where(np.arange(len(placed.masks)) % (len(placed.masks) // LOOK or 1) == 0)
    lines = [some.pictures, np.repeat(some.masks[..., None] * np.uint8(255), 3, 3)]
    for guidance in (1.5, 3.0, 5.0, 8.0):
        drawing = replace(painter, studio=replace(painter.studio, guidance=guidance))
        lines += [drawing.paint(some, arm, LOOK_SEED) for arm in (INSERTED, HEALTHY)]
    sheet = np.concatenate([np.concatenate(list(line), axis=1) for line in lines])
    Image.fromarray(sheet).save(folder / "gliomas.png")


def main() -> None:
    """Measure what is missing, and print all that is there."""
    parser = argparse.ArgumentParser(prog="python -m bench.glioma", description=__doc__)
    parser.add_argument("--base", type=Path, required=True, help="the pipeline that `embhub base train` made")
    parser.add_argument("--kept", type=Path, required=True, metavar="DIR", help="learned rows and nearest words")
    parser.add_argument("--look", type=Path, metavar="DIR", help="write pictures to look at, and judge nothing")
    parser.add_argument("--data", type=Path, default=default_data(), help="folder of the public images")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    painter = load(asked.base, asked.data, asked.kept)
    if asked.look:
        look(painter, read(asked.data, "judge"), asked.look)
        return
    taught = read(asked.data, "base", "held-out", "judge")
    file = ResultsFile(asked.results)
    study(segmenter.teach(taught.pictures, taught.masks), painter, read(asked.data, "test"), file)
    print(table(file.rows))


if __name__ == "__main__":
    main()
