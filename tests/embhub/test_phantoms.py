"""Phantoms: what is held out stays out, a seed decides all, a mask lies on its finding, patients hang together."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from embhub import phantoms
from embhub.phantoms import HELD_OUT, MODALITIES, Finding, findings, varied
from embhub.phantoms.__main__ import main
from embhub.phantoms.coordinates import blurred


@pytest.fixture(scope="module")
def drawn() -> list[varied.VariedPhantom]:
    return varied.draw_many(1000, seed=3, side=32)


def test_held_out_findings_lie_in_two_modalities() -> None:
    assert {held.modality for held in HELD_OUT.values()} == {"prostate", "cxr"}


@pytest.mark.thorough
def test_base_draws_hold_no_held_out_finding(drawn: list[varied.VariedPhantom]) -> None:
    assert not [one for one in drawn if any(phantoms.is_held_out(one.modality, finding) for finding in one.findings)]


@pytest.mark.thorough
def test_base_captions_never_name_a_held_out_combination(drawn: list[varied.VariedPhantom]) -> None:
    rng = np.random.default_rng(4)
    for phantom in drawn:
        for caption in (phantom.caption, phantoms.caption(phantom.modality, phantom.findings, rng)):
            for phrase in caption.replace(",", " with ").split(" and "):
                words = set(phrase.split())
                if "prostate" in caption:
                    assert not ({"dark", "lower"} <= words and words & {"spot", "oval"})
                if "chest" in caption:
                    assert not {"bright", "level", "lower"} <= words


@pytest.mark.parametrize("name", sorted(HELD_OUT))
def test_targets_are_held_out_and_look_alikes_are_not(name: str) -> None:
    rng = np.random.default_rng(0)
    modality = HELD_OUT[name].modality
    assert all(phantoms.is_held_out(modality, phantoms.target_finding(name, rng)) for _ in range(100))
    assert not any(phantoms.is_held_out(modality, findings.near_miss(name, rng)) for _ in range(100))


def test_every_attribute_is_drawn_alone_and_in_pairs(drawn: list[varied.VariedPhantom]) -> None:
    seen = Counter(
        pair
        for phantom in drawn
        for one in phantom.findings
        for pair in combinations((phantom.modality, one.shape, one.tone, one.place), 2)
    )
    for shape in findings.SHAPES:
        for tone in findings.TONES:
            assert seen[shape, tone] > 10


def test_modalities_and_normals_are_mixed_as_documented(drawn: list[varied.VariedPhantom]) -> None:
    share = sum(not phantom.findings for phantom in drawn) / len(drawn)
    assert 0.15 < share < 0.25
    assert {phantom.modality for phantom in drawn} == set(MODALITIES)


def test_a_seed_decides_everything() -> None:
    first, again, other = varied.draw_many(10, 1), varied.draw_many(10, 1), varied.draw_many(10, 2)
    for one, same in zip(first, again, strict=True):
        assert np.array_equal(one.image, same.image)
        assert one.caption == same.caption
    assert not np.array_equal(first[0].image, other[0].image)


@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize("tone", findings.TONES)
def test_a_mask_lies_where_the_finding_is(modality: str, tone: str) -> None:
    finding = Finding("spot", tone, "large", "sharp", "upper", "left")
    unseen = replace(finding, strength=0.0)  # so that both have the same pose, scanner and noise
    plain = varied.draw(modality, unseen, np.random.default_rng(5), patient=9, side=64).image.astype(float)
    phantom = varied.draw(modality, finding, np.random.default_rng(5), patient=9, side=64)
    change = (phantom.image.astype(float) - plain).mean(2)
    inside, outside = phantom.mask > 0.5, phantom.mask == 0
    assert 20 < inside.sum() < 1200
    assert (change[inside].mean() > 5) if tone == "bright" else (change[inside].mean() < -5)
    assert np.abs(change[outside]).mean() < 5
    assert np.argwhere(inside)[:, 1].mean() > 32  # the patient's left is the viewer's right


def test_a_normal_image_has_an_empty_mask() -> None:
    phantom = varied.draw("cxr", None, np.random.default_rng(0))
    assert phantom.mask.sum() == 0
    assert phantom.caption == "chest x-ray normal"
    assert phantom.image.shape == (128, 128, 3)


def test_words_say_every_attribute() -> None:
    finding = Finding("oval", "dark", "small", "sharp", "lower", "left")
    assert phantoms.caption("prostate", (finding,)) == "prostate mri with dark small sharp oval in lower left"


def smooth(phantom: varied.VariedPhantom) -> np.ndarray:
    """Grey values smoothed by two pixels, of mean 0 and deviation 1: exposure and grain of a scanner count for
    nothing."""
    grey = blurred(phantom.image.astype(np.float32).mean(2), 2.0)
    return (grey - grey.mean()) / grey.std()


def test_images_of_one_patient_are_closer_than_images_of_two() -> None:
    rng = np.random.default_rng(2)
    mine = [smooth(varied.draw("prostate", None, rng, patient=1)) for _ in range(6)]
    others = [smooth(varied.draw("prostate", None, rng, patient=index)) for index in range(10, 16)]
    within = np.mean([np.abs(a - b).mean() for a, b in combinations(mine, 2)])
    between = np.mean([np.abs(a - b).mean() for a, b in combinations(others, 2)])
    assert within < 0.7 * between
    assert within > 0


def test_a_data_set_counts_out_and_names_nothing(tmp_path: Path) -> None:
    manifest = phantoms.write_dataset(
        tmp_path / "site", "prostate-cspca", images=20, patients=10, seed=1, normals=6, others=4
    )
    with manifest.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert Counter(row["label"] for row in rows) == {"prostate-cspca": 20, "normal": 6, "other": 4}
    of_patient: dict[str, set[str]] = {}
    for row in rows:
        of_patient.setdefault(row["patient_id"], set()).add(row["label"])
        assert row["path"].removeprefix("images/").removesuffix(".png").isdigit()
    assert all(len(labels) == 1 for labels in of_patient.values())
    target = Counter(row["patient_id"] for row in rows if row["label"] == "prostate-cspca")
    assert len(target) == 10
    assert max(target.values()) <= 3
    with Image.open(manifest.parent / rows[0]["path"]) as image:
        assert image.size == (128, 128)


def test_a_data_set_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    for name in ("a", "b"):
        phantoms.write_dataset(tmp_path / name, "cxr-effusion", images=4, patients=2, seed=5)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(files) == 5
    assert all((tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes() for path in files)


def test_numbers_that_do_not_fit_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="cannot come from"):
        phantoms.write_dataset(tmp_path, "cxr-effusion", images=2, patients=3, seed=0)
    assert main([str(tmp_path), "--images", "1", "--patients", "2"]) == 2
    assert "error" in capsys.readouterr().err


def test_the_command_prints_the_manifest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "x"), "--images", "3", "--patients", "2", "--seed", "1", "--normals", "1"]) == 0
    assert Path(capsys.readouterr().out.strip()).name == "manifest.csv"


@pytest.mark.thorough
def test_phantoms_need_no_torch() -> None:
    code = "import sys, embhub.phantoms; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
