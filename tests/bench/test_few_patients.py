"""The study of few patients runs, keeps what it measured, and mixes no bases. Figures mean nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from bench import few_patients, marked
from bench.few_patients import AGG, CEILINGS, PRIVATE, SGD, VOTES
from bench.results_file import ResultsFile
from embhub.diffusion.bases.pipelines import freeze
from embhub.diffusion.dp import settings
from embhub.diffusion.dp.mechanism import Mechanism
from embhub.diffusion.training import inversion
from tests.support import pipelines


@pytest.fixture(scope="module")
def material() -> few_patients.Material:
    pipe = pipelines.build()
    freeze(pipe)
    pipe.set_progress_bar_config(disable=True)
    images = torch.rand(14, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    latents = inversion.encode_images(pipe, images)
    return few_patients.Material("tiny", pipe, "f" * 64, "mri, {}", latents[:12], latents[12:])


def row(**changes: Any) -> dict[str, Any]:
    facts = {"base": "tiny", "fingerprint": "f" * 64, "patients": 10, "arm": SGD, "epsilon": 1.0, "run": 0}
    return {**facts, "start": 0.5, "loss": 0.49, **changes}


@pytest.mark.thorough
@pytest.mark.exhaustive
def test_every_arm_runs_once_and_is_kept(material: few_patients.Material, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(few_patients, "PLAIN_STEPS", 1)
    monkeypatch.setattr(settings, "MOST_ROUNDS", 1)
    monkeypatch.setattr(settings, "_SGD", replace(settings._SGD, steps=2))
    monkeypatch.setattr(settings, "_AGG", replace(settings._AGG, steps=1))
    rows: list[dict[str, Any]] = []
    few_patients.study(material, [10], [8.0], 2, rows, rows.append, [SGD])
    assert [(each["arm"], each["run"]) for each in rows] == [(SGD, 0), (SGD, 1)]
    few_patients.study(material, [10], [8.0], 1, list(rows), rows.append)
    found = {(each["arm"], each["epsilon"]) for each in rows}
    assert found == {*((arm, 8.0) for arm in PRIVATE), *((arm, None) for arm in CEILINGS)}
    assert len(rows) == 2 + 2 + len(CEILINGS)
    assert all(each["loss"] > 0 and each["fingerprint"] == "f" * 64 for each in rows)
    few_patients.study(material, [10], [8.0], 1, list(rows), lambda row: pytest.fail("measured again"))
    assert next(each for each in rows if each["arm"] == f"{VOTES} without noise")["sigma"] == 0.0


def test_clipping_and_noise_are_left_out_where_the_row_says_so(material: few_patients.Material) -> None:
    study = few_patients.Study(material, 3)
    own = torch.tensor([[3.0, 0.0], [0.0, 3.0], [0.3, 0.0]]).double().numpy()
    study._own[16] = own
    seen: dict[str, Any] = {}

    class Watched(Mechanism):
        def release(self, total: Any) -> Any:
            seen["total"] = total
            return torch.zeros(study._prepare(task, protection).size).double().numpy()

    protection, task, mechanism, _ = study._set_up(AGG, None)
    watched = Watched(1.0, mechanism.max_grad_norm, 0.0, 3)
    study._aggregate(f"{AGG} without noise", task, protection, watched)
    assert seen["total"] == pytest.approx([1.3, 1.0], rel=2e-3)
    study._aggregate(f"{AGG} without noise or clipping", task, protection, watched)
    assert seen["total"] == pytest.approx([3.3, 3.0])


def test_rows_of_other_weights_are_not_shown() -> None:
    rows = [row(), row(run=1, loss=0.48), row(fingerprint="e" * 64, loss=0.1)]
    shown = few_patients.table(rows, {"tiny": "f" * 64})
    assert "| dp-sgd | 1 | +15.0 (+10.0 to +20.0, 2 runs) |" in shown and "400" not in shown
    assert "1 rows of other weights of `tiny` are not shown." in shown
    assert "dp-sgd" not in few_patients.table(rows, {"tiny": "d" * 64})
    assert few_patients.table([], {}) == "Not measured yet."


def test_the_page_shows_what_the_results_file_holds() -> None:
    rows = ResultsFile(few_patients.RESULTS).rows
    page = few_patients.PAGE.read_text(encoding="utf-8")
    known = {name: next(line["fingerprint"] for line in rows if line["base"] == name) for name in _bases(rows)}
    assert marked.put(page, few_patients.table(rows, known)) == page


def _bases(rows: list[dict[str, Any]]) -> set[str]:
    return {line["base"] for line in rows}
