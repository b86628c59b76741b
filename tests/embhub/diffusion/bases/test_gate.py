"""The gate: goals beside what was measured, met and missed said as they are."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from bases.workshop import counting
from embhub import builtin_bases as base
from embhub.diffusion.bases import gate


def row(rows: list[gate.Goal], words: str) -> gate.Goal:
    return next(one for one in rows if words in one.asked)


@pytest.fixture
def phantoms() -> dict[str, Any]:
    """What the gate of 64 pixels counted of the first `builtin`, in part."""
    fit = {"images": 100, "vectors": 8, "steps": 200, "processor_seconds": 62, "target": 0.54, "target_only": 0.14}
    held = {
        "n": 100,
        "real": {"right": 0.997},
        "look_alike": {"prompt": "prostate mri, dark sharp ring in lower", "target": 0.33},
        "before": {"prompt": "prostate mri, lesion", "target": 0.02, "target_only": 0.0},
        "inverted": fit,
        "utility": {"gains": {"real + synthetic over real": [0.05, 0.025, 0.074]}, "per_class": 20, "seeds": 10},
    }
    return {
        "autoencoder_db": {"n": 300, "cxr": 31.0},
        "taught": {"chest x-ray, normal": {"recognised": 1.0, "n": 48}, "dark oval": {"recognised": 0.688, "n": 48}},
        "held_out": {"prostate-cspca": held},
    }


@pytest.fixture
def xrays() -> dict[str, Any]:
    return copy.deepcopy(base.info("builtin-xray").figures)


def test_nothing_measured_is_no_gate() -> None:
    assert gate.goals({}) == []


@pytest.mark.parametrize(
    ("words", "key", "good", "bad"),
    [
        ("target called after inversion", "target", 0.6, 0.59),
        ("target and no other finding", "target_only", 0.5, 0.49),
        ("inversion of", "processor_seconds", 180, 181),
    ],
)
def test_each_goal_of_a_held_out_finding_can_be_missed(
    phantoms: dict[str, Any], words: str, key: str, good: float, bad: float
) -> None:
    fit = phantoms["held_out"]["prostate-cspca"]["inverted"]
    for value, met in ((good, True), (bad, False)):
        fit[key] = value
        assert row(gate.goals(phantoms), words).met is met


def test_one_weak_prompt_misses_the_goal_of_all(phantoms: dict[str, Any]) -> None:
    for counted in phantoms["taught"].values():
        counted["recognised"] = 0.9
    assert row(gate.goals(phantoms), "taught findings").met
    next(iter(phantoms["taught"].values()))["recognised"] = 0.79
    found = row(gate.goals(phantoms), "taught findings")
    assert not found.met
    assert "79%" in found.measured


def test_the_weakest_seed_decides_what_inversion_adds(xrays: dict[str, Any]) -> None:
    for counted in xrays["inverted"].values():
        counted["called_pneumonia"] = 0.6
    assert row(gate.goals(xrays), "inverted bacterial pneumonia called").met
    xrays["inverted"]["bacterial pneumonia, seed 2"]["called_pneumonia"] = 0.59
    assert not row(gate.goals(xrays), "inverted bacterial pneumonia called").met


def test_words_that_show_the_finding_miss_the_goal(xrays: dict[str, Any]) -> None:
    for kind, most, asked in (("before", 0.05, "own words"), ("nearest words", 0.15, "nearest taught words called")):
        for share, met in ((most, True), (most + 0.01, False)):
            xrays["words"][kind]["called_pneumonia"] = share
            assert row(gate.goals(xrays), asked).met is met


def test_detail_counts_up_to_24_cycles_alone(xrays: dict[str, Any]) -> None:
    xrays["power"] = {"8-16": 0.8, "16-24": 0.8, "24-32": 0.1}
    assert row(gate.goals(xrays), "power of drawn normals").met
    xrays["power"]["16-24"] = 0.79
    assert not row(gate.goals(xrays), "power of drawn normals").met


def test_kernel_distances_have_to_be_apart_for_every_seed(xrays: dict[str, Any]) -> None:
    found = xrays["distance"]
    found["nearest words"] = {"n": 96, "kid": 1.0, "sd": 0.1}
    for name in xrays["inverted"]:
        found[name] = {"n": 96, "kid": 0.55, "sd": 0.1}
    assert row(gate.goals(xrays), "kernel distance").met
    found["bacterial pneumonia, seed 1"]["kid"] = 0.61
    assert not row(gate.goals(xrays), "kernel distance").met


def test_an_interval_that_touches_nought_is_no_gain(xrays: dict[str, Any]) -> None:
    counted = xrays["utility"]["10"]
    counted["gains"]["real + synthetic over real"] = [0.02, 0.0, 0.04]
    assert not row(gate.goals(xrays), "10 real images a class, gain in AUC over real").met


def test_the_nearest_of_itself_is_at_no_distance() -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3)).astype(np.uint8)
    assert counting.nearest(images, images) < 0.01
    assert counting.nearest(images[:2], images[2:]) > 0.1


def test_auc_between_two_classes_leaves_out_the_third() -> None:
    scores = np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.0, 0.0, 1.0]])
    assert counting.between(scores, np.array([0, 1, 2]), 0, 1) == 1.0
