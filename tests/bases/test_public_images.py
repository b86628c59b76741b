"""Which public images train a base, what their captions say, and poses; on the real images where they are at hand."""

from __future__ import annotations

import csv
import functools
from pathlib import Path

import numpy as np
import pytest
import torch

from bases.workshop import xray
from bases.workshop.public_images import SETS, main, material, part_of, read, rows_of, rows_seen
from embhub.diffusion.adaptation.base_training import poses
from embhub.diffusion.adaptation.base_training.material import Pool
from tests.support.quick import quick
from tests.support.tools import DATA, needs_films

CHEST = SETS["builtin-xray"]


@needs_films
@pytest.mark.parametrize("name", sorted(SETS))
def test_patients_of_different_parts_are_apart(name: str) -> None:
    base, apart, *others = (
        {row["patient_id"] for _, row in rows_of(DATA, SETS[name], (part,))}
        for part in ("base", "held-out", "judge", "test", "site")
    )
    assert base and apart and all(others)
    assert not base & apart
    assert not any((base | apart) & other for other in others[:2])
    if name != "builtin-xray":  # there the base also has the normal films of `site`
        assert not (base | apart) & others[2]


@needs_films
def test_no_patient_with_a_malignant_mass_is_in_the_base_of_ultrasounds(tmp_path: Path) -> None:
    main(["builtin-ultrasound", "--data", str(DATA), "--out", str(tmp_path / "base.csv")])
    with (DATA / "breast-ultrasound-busi/index.csv").open(encoding="utf-8", newline="") as file:
        malignant = {row["patient_id"] for row in csv.DictReader(file) if row["label"] == "malignant mass"}
    with (tmp_path / "base.csv").open(encoding="utf-8", newline="") as file:
        taught = list(csv.DictReader(file))
    assert len(taught) > 250 and all(Path(row["path"]).is_file() for row in taught)
    assert malignant and not malignant & {row["patient_id"] for row in taught}
    for part in ("site", "judge", "test"):
        assert malignant & {row["patient_id"] for _, row in rows_of(DATA, SETS["builtin-ultrasound"], (part,))}


@needs_films
def test_a_manifest_calls_healthy_images_normal_and_names_no_finding(tmp_path: Path) -> None:
    labels = {DATA / source.folder / row["path"]: row["label"] for source, row in rows_seen(DATA, SETS["colonoscopy"])}
    main(["colonoscopy", "--data", str(DATA), "--out", str(tmp_path / "base.csv")])
    with (tmp_path / "base.csv").open(encoding="utf-8", newline="") as file:
        said = {Path(row["path"]): row["caption"] for row in csv.DictReader(file)}
    assert said == {
        path.resolve(): "normal" if label == "mucosa without polyp" else "" for path, label in labels.items()
    }
    assert set(said.values()) == {"", "normal"}


@needs_films
def test_a_base_sees_no_film_of_the_hospitals_of_the_studies() -> None:
    seen = {row["patient_id"] for _, row in rows_seen(DATA, CHEST)}
    hospitals = (xray.hospital(DATA, xray.LEFT_OUT, 200), xray.other_hospital(DATA, xray.LEFT_OUT, 200))
    assert not seen & {patient for one in hospitals for patient in one.patients}


@functools.cache
def pool(name: str) -> Pool:
    return material(name, DATA).pool(0)


@needs_films
@pytest.mark.parametrize(("name", "share"), quick([("colonoscopy", 0.12)], thorough=[("builtin-xray", 0.0)]))
def test_a_base_of_chest_films_is_shown_no_finding_and_others_now_and_then(name: str, share: float) -> None:
    odds, rows = pool(name).odds, rows_of(DATA, SETS[name], ("base",))
    findings = torch.tensor([row["label"] != source.healthy for source, row in rows])
    assert findings.any()
    assert float(odds[findings.repeat(6)].sum() / odds.sum()) == pytest.approx(share, abs=0.01)


@needs_films
def test_films_with_a_finding_that_a_base_sees_are_held_out() -> None:
    shown = [(source, row) for source, row in rows_seen(DATA, CHEST) if row["label"] != source.healthy]
    assert shown and all(part_of(source.folder, row["patient_id"], row["label"]) == "held-out" for source, row in shown)


@pytest.mark.thorough
@pytest.mark.exhaustive
@needs_films
def test_captions_hold_the_pose_and_never_the_finding() -> None:
    caption = pool("builtin-xray").caption
    first = [caption(place, np.random.default_rng(place)).text for place in range(1000)]
    later = [caption(place, np.random.default_rng(place)).text for place in range(1500, 2500)]
    assert not any(word in text for text in first + later for word in ("pneumonia", "viral", "bacterial", "finding"))
    findings = read(DATA, CHEST, "base").findings
    assert findings is not None
    assert not any("normal" in text for text, sick in zip(first, findings, strict=False) if sick)
    assert any("normal" in text for text in first)
    assert not any(word in text for text in first for word in ("mirrored", "turned", "closer", "brighter"))
    assert 0.1 < np.mean(["mirrored" in text for text in later]) < 0.4


def still(**changed: torch.Tensor) -> poses.Poses:
    return poses.Poses(**{**vars(poses.still(1)), **changed})


def test_poses_do_what_their_words_say() -> None:
    picture = torch.zeros(1, 1, 224, 224, dtype=torch.uint8)
    picture[0, 0, 40:60, 40:60] = 255  # upper left
    places = {}
    for name, chosen in {
        "still": still(),
        "mirrored": still(mirrored=torch.tensor([True])),
        "turned clockwise": still(turn=torch.tensor([10.0])),
        "closer": still(zoom=torch.tensor([0.1])),
    }.items():
        shown = poses.pose(picture, chosen)[0, 0] + 1
        rows, columns = torch.meshgrid(torch.arange(128.0), torch.arange(128.0), indexing="ij")
        places[name] = (float((shown * rows).sum() / shown.sum()), float((shown * columns).sum() / shown.sum()))
        assert chosen.words(0) == ([] if name == "still" else [name])
    row, column = places["still"]
    assert places["mirrored"] == pytest.approx((row, 127 - column), abs=0.5)
    assert places["turned clockwise"][0] < row - 2 and places["turned clockwise"][1] > column + 2
    assert places["closer"][0] < row - 2 and places["closer"][1] < column - 2


def test_light_is_told_and_seen() -> None:
    grey = torch.full((1, 1, 224, 224), 100, dtype=torch.uint8)
    brighter = still(light=torch.tensor([0.1]))
    assert poses.pose(grey, brighter).mean() > poses.plain(grey).mean() + 0.05
    assert brighter.words(0) == ["brighter"]
