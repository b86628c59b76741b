"""Gliomas are put where a real mask fits, of another patient; what is measured is what stands in the page."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench import glioma, segmenter
from bench.results_file import ResultsFile
from bench.worth_material import TOKEN, Modality
from embhub.diffusion.generation.generation import prepare
from embhub.images import masks
from tests.support import pipelines

PAGE = Path(__file__).parents[2] / "docs/explanation/using-embeddings.md"
SIDE = 32


def brains(count: int, seed: int = 0) -> glioma.Slices:
    """Bright discs, every other with a brighter square; two slices of each patient."""
    rng = np.random.default_rng(seed)
    down, across = np.mgrid[:SIDE, :SIDE]
    brain = (down - 16) ** 2 + (across - 16) ** 2 < 13**2
    pictures, masks = np.zeros((count, SIDE, SIDE), np.uint8), np.zeros((count, SIDE, SIDE), bool)
    for number in range(count):
        top, left = rng.integers(9, 16, 2)
        pictures[number][brain] = rng.integers(70, 90)
        if number % 2:
            masks[number, top : top + 7, left : left + 7] = True
            pictures[number][masks[number]] = 220
    return glioma.Slices(np.repeat(pictures[..., None], 3, 3), masks, tuple(f"P{n // 2}" for n in range(count)))


def test_a_place_is_another_patients_mask_that_lies_on_brain() -> None:
    known = brains(12)
    known.pictures[0, :16] = 0
    placed = glioma.place(known, 0)
    assert not known.sick[::2].any() and known.sick[1::2].all()
    assert set(placed.patients) <= set(known.patients) and len(placed.masks) >= 5
    for seed in range(10):
        tried = glioma.place(known, seed)
        for picture, mask, patient in zip(tried.pictures, tried.masks, tried.patients, strict=True):
            owners = {known.patients[at] for at in np.flatnonzero((known.masks == mask).all((1, 2)))}
            assert owners - {patient} and picture[mask][:, 0].mean() > glioma.DARK
    again = glioma.place(known, 0)
    assert (again.masks == placed.masks).all() and (glioma.place(known, 1).masks != placed.masks).any()


def test_a_slice_without_a_place_is_left_out() -> None:
    known = brains(4)
    known.pictures[0] = 0
    assert glioma.place(known, 0).patients == ("P1",)


def test_a_segmenter_finds_what_it_was_taught() -> None:
    taught, asked = brains(24), brains(8, seed=1)
    judge = segmenter.teach(taught.pictures, taught.masks, steps=60)
    found = segmenter.dice(judge.mark(asked.pictures), asked.masks)
    assert found.mean() > 0.8


def test_dice_of_halves() -> None:
    full, half, none = np.ones((1, 4, 4), bool), np.zeros((1, 4, 4), bool), np.zeros((1, 4, 4), bool)
    half[:, :2] = True
    pairs = [(full, full, 1.0), (half, full, 2 / 3), (none, full, 0.0), (none, none, 1.0)]
    assert [segmenter.dice(one, other)[0] for one, other, _ in pairs] == pytest.approx([value for *_, value in pairs])


def test_what_is_measured_of_perfect_and_of_missing_insertions() -> None:
    placed = glioma.place(brains(12), 0)
    drawn = placed.pictures.copy()
    drawn[placed.masks] = 220

    class Bright(segmenter.Segmenter):
        def mark(self, pictures: np.ndarray) -> np.ndarray:
            return np.asarray(pictures[..., 0] > 200)

    judge = Bright(None)
    row = glioma.measure(judge, placed.pictures, replace(placed, pictures=drawn))
    assert row["Dice"] == row["found"] == row["change inside"] == [1, 1, 1] and row["outside"] == [0, 0, 0]
    spoiled = drawn.copy()
    spoiled[:, 0, 0] += 100
    assert glioma.measure(judge, placed.pictures, replace(placed, pictures=spoiled))["change inside"][0] < 1
    untouched = glioma.measure(judge, placed.pictures, placed)
    assert untouched["Dice"] == [0, 0, 0] and "change inside" not in untouched
    assert untouched["images"] == len(placed.masks) and untouched["patients"] == len(set(placed.patients))


def test_only_the_mask_and_its_border_are_painted_and_sets_are_measured_once(tmp_path: Path) -> None:
    base = pipelines.write(tmp_path / "tiny")
    studio = prepare(base=base, steps=2, guidance_scale=2.0, device="cpu")
    width = studio.pipe.text_encoder.config.hidden_size
    one = Modality("", "", "", (), "mri")
    painter = glioma.Painter(studio, one, {"text_encoder": torch.ones(1, width)}, "mri, bright")
    placed = glioma.place(brains(8), glioma.SEED)
    painted = painter.paint(placed, glioma.INSERTED, 0)
    changed = (painted != placed.pictures).any(3)
    near = np.stack([masks.grow(mask, 2) for mask in placed.masks])
    assert changed.any() and not (changed & ~near).any()
    assert (painted != painter.paint(placed, glioma.WORDS, 0)).any()
    with painter.prompt(glioma.HEALTHY) as prompt:
        assert prompt == "mri, normal" and TOKEN not in prompt

    file = ResultsFile(tmp_path / "rows.json")
    judge = segmenter.teach(placed.pictures, placed.masks, steps=1)
    glioma.study(judge, painter, brains(8), file)
    names = [row["set"] for row in file.rows]
    assert names == [glioma.REAL, glioma.UNTOUCHED, glioma.HEALTHY, glioma.WORDS, glioma.INSERTED]
    glioma.study(judge, painter, brains(8), file)
    assert len(file.rows) == len(names) and len(glioma.table(file.rows).splitlines()) == 2 + len(names)


def test_slices_and_masks_are_read_from_the_public_set(tmp_path: Path) -> None:
    folder = tmp_path / glioma.FOLDER
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    marked = np.zeros((256, 256), np.uint8)
    marked[64:128, 32:96] = 255
    rows = []
    for number in range(40):
        Image.fromarray(np.full((256, 256), number, np.uint8)).save(folder / f"images/{number}.png")
        Image.fromarray(marked).save(folder / f"masks/{number}.png")
        mask = f"masks/{number}.png" if number % 2 else ""
        rows.append((f"images/{number}.png", "glioma" if mask else "no lesion", f"P{number // 2}", mask))
    with (folder / "index.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "patient_id", "mask_path"), *rows])
    parts = [glioma.read(tmp_path, part) for part in ("base", "site", "judge", "test")]
    assert not {one for part in parts[:1] for one in part.patients} & {
        one for part in parts[1:] for one in part.patients
    }
    for part in parts:
        assert (part.sick == (part.pictures[:, 0, 0, 0] % 2 == 1)).all()
        assert (part.masks[part.sick] == (np.asarray(marked)[::2, ::2] > 0)).all()


def test_the_table_is_that_of_the_results() -> None:
    lines = glioma.table(json.loads(glioma.RESULTS.read_text())).splitlines()
    assert len(lines) == 2 + 5
    assert not [line for line in lines if line not in PAGE.read_text()]
