"""The study of four regimes: nobody on two sides, nobody whom the base saw, and a page that says what was measured."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from bench import regimes
from bench import regimes_material as material
from embhub.builtin_bases import info
from embhub.cards.evaluation import REAL_ALONE
from embhub.images import seen

DATA = Path(os.environ.get("EMBHUB_TEST_DATA") or Path(__file__).parents[2].parent / "shared" / "data")


@pytest.mark.thorough
@pytest.mark.skipif(not (DATA / "chest-xray").exists(), reason="no chest X-rays: set EMBHUB_TEST_DATA")
def test_no_patient_is_on_two_sides_and_the_base_saw_none_who_train_or_test() -> None:
    real, base = material.real(DATA), seen.read(info(material.BASE).path)
    assert base is not None
    pool, test, tune = (set(part.patients) for part in (real.pool, real.test, real.tune))
    assert not pool & test and not pool & tune and not test & tune
    assert not (pool | test) & base.patients
    for part in (real.pool, real.test):
        assert part.most >= 200 and part.images.shape[1:] == (128, 128, 3)


def test_an_arm_is_there_when_both_its_classes_are_drawn(tmp_path: Path) -> None:
    assert material.drawn(material.PLAIN, 0, tmp_path) is None
    np.save(tmp_path / "embedding-0.npy", np.ones((2, 8, 8, 3), np.uint8))
    assert material.drawn(material.PLAIN, 0, tmp_path) is None
    np.save(tmp_path / "normal-0.npy", np.zeros((3, 8, 8, 3), np.uint8))
    found = material.drawn(material.PLAIN, 0, tmp_path)
    assert found is not None
    assert found.labels.tolist() == [0, 0, 0, 1, 1] == found.images[:, 0, 0, 0].tolist()


def test_the_page_has_the_table_of_what_was_kept() -> None:
    kept = json.loads(regimes.RESULTS.read_text())
    page = regimes.PAGE.read_text()
    assert page == regimes.put_into(page, kept)
    over = {row["over"] for row in kept["differences"]}
    assert {REAL_ALONE, "real images and generated normals", material.WORDS} <= over
