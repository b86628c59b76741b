"""The study of four regimes: nobody on two sides, nobody whom the base saw, and a table of every cell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import regimes
from bench import regimes_material as material
from embhub.builtin_bases import info
from embhub.cards.evaluation import NORMALS, REAL_ALONE, STOPPED_EARLY, Difference
from embhub.diffusion.evaluation import outcome, paired
from embhub.diffusion.evaluation.cells import Cell, Labelled, grid
from embhub.diffusion.evaluation.fitting import Taught
from embhub.images import seen
from tests.support.tools import DATA, needs_films


@pytest.mark.thorough
@needs_films
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


def test_the_table_has_every_cell_and_control_and_goes_into_the_page() -> None:
    truth, people = np.arange(40) % 2, tuple(map(str, range(40)))
    test = Labelled(np.zeros((40, 1, 1, 3), np.uint8), truth, people)
    private = material.name_of(8)
    arms = {material.PLAIN: (20,), private: (20,), material.WORDS: (20,)}
    cells = [*grid([40], arms, regimes.REGIMES, stopped=[40]), Cell(40, material.PLAIN, 20, "normals")]
    scores = {cell: [np.random.default_rng([n, seed]).random(40) for seed in range(4)] for n, cell in enumerate(cells)}
    taught, sets = Taught(scores, {cell: [0.5] for cell in cells if cell.regime == "filtered"}), dict.fromkeys(arms, 2)
    found: dict[str, Any] = {
        "protocol": {"classifier": "small"}, "noise": 1.0, "seeds": 4, "pool": {"films": 2}, "test": {"films": 3},
        "real_alone_by_noise": {"0": 0.95}, "embeddings": sets,
        "aucs": [one.model_dump(mode="json") for one in outcome.aucs(test, taught, sets)],
        "differences": [one.model_dump(mode="json") for one in regimes.differences(test, taught, sets)],
    }  # fmt: skip
    lines = regimes.table(found).splitlines()
    assert len(lines) == 2 + len(cells)
    assert [name in lines[0] for name in (REAL_ALONE, STOPPED_EARLY, NORMALS, material.WORDS)] == [True] * 4
    (pretrained,) = [line for line in lines if f"{material.PLAIN}, pretrained" in line]
    assert pretrained.count("[") == 6 and pretrained.startswith("| 20 |")
    (own,) = [line for line in lines if f"{private}, pretrained" in line]
    assert own.count("[") == 5, "all but the embedding itself"
    (filtered,) = [line for line in lines if f"{material.PLAIN}, filtered" in line]
    assert "(50% kept)" in filtered
    rows = [Difference.model_validate(values) for values in found["differences"]]
    usual = outcome.differences(test, taught, sets)
    assert [row.gain for row in rows[: len(usual)]] == [row.gain for row in usual] and len(rows) == len(usual) + 7
    assert [row.p_holm for row in rows] == pytest.approx(
        paired.holm([row.p for row in rows if row.p is not None]), abs=1e-6
    )
    over = {(row.over, row.regime): row.gain for row in rows if row.arm == private and row.real}
    areas = {(one.arm, one.regime): one.auc for one in outcome.aucs(test, taught, sets) if one.real and one.drawn}
    for regime in regimes.REGIMES:
        normals, words = areas[material.PLAIN, "normals"], areas[material.WORDS, regime]
        assert over[NORMALS, regime] == pytest.approx(areas[private, regime] - normals, abs=2e-4)
        assert over[material.WORDS, regime] == pytest.approx(areas[private, regime] - words, abs=2e-4)
    page = regimes.put_into(regimes.PAGE.read_text(), found)
    assert pretrained in page and "| X-rays: 3 |" in page


def test_the_page_shows_what_the_results_file_holds() -> None:
    page = regimes.PAGE.read_text()
    assert regimes.put_into(page, json.loads(regimes.RESULTS.read_text())) == page


def test_the_sentence_on_generated_normals_counts_what_was_measured() -> None:
    rows = json.loads(regimes.RESULTS.read_text())["differences"]
    over = [row for row in rows if row["over"] == NORMALS]
    assert all(row["gain"] < 0 for row in over) and all(row["p_holm"] > 0.05 for row in rows)
    plain = [row["interval"][1] < 0 for row in over if row["arm"] == material.PLAIN]
    private = [row["interval"][1] < 0 for row in over if row["arm"] != material.PLAIN]
    assert (len(plain), sum(plain), len(private), sum(private)) == (9, 1, 18, 12)
