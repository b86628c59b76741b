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
def xrays() -> dict[str, Any]:
    return copy.deepcopy(base.info("builtin-xray").figures)


def test_nothing_measured_is_no_gate() -> None:
    assert gate.goals({}) == []
    assert gate.goals({"taught": {}, "held_out": {}}) == []  # of a gate that is gone


def test_the_weakest_seed_decides_what_inversion_adds(xrays: dict[str, Any]) -> None:
    for counted in xrays["inverted"].values():
        counted["called_pneumonia"] = 0.85
    assert row(gate.goals(xrays), "inverted bacterial pneumonia called").met
    xrays["inverted"]["bacterial pneumonia, seed 2"]["called_pneumonia"] = 0.84
    assert not row(gate.goals(xrays), "inverted bacterial pneumonia called").met


def test_words_that_show_the_finding_miss_the_goal(xrays: dict[str, Any]) -> None:
    for kind, asked in (("before", "own words"), ("nearest words", "nearest taught words called")):
        for share, met in ((0.19, True), (0.2, False)):
            xrays["words"][kind]["called_pneumonia"] = share
            assert row(gate.goals(xrays), asked).met is met


def test_generated_normals_may_be_called_sick_as_often_as_real_ones_and_ten_points(xrays: dict[str, Any]) -> None:
    xrays["real"]["normal"]["called_pneumonia"] = 0.06
    for share, met in ((0.16, True), (0.17, False)):
        xrays["taught"]["normal"]["called_pneumonia"] = share
        assert row(gate.goals(xrays), "generated ones called").met is met


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
