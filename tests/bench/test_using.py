"""The studies of using embeddings run, keep what they measured, and measure it once. Figures mean nothing here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bases.workshop import xray
from bench import compositions, findings, insertion
from embhub.diffusion.generation.generation import Studio, prepare
from embhub.diffusion.training import adapter_fit
from embhub.diffusion.training.recipes import ResolvedRecipe
from embhub.phantoms import Finding
from tests.support import pipelines


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    base = pipelines.write(tmp_path_factory.mktemp("bases") / "tiny")
    return prepare(base=base, steps=2, guidance_scale=2.0, device="cpu")


@pytest.fixture(autouse=True)
def small(tiny: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (findings, insertion, compositions):
        monkeypatch.setattr(module, "studio", lambda: tiny)
    # The tiny tokenizer reads letters: two findings in all their words are longer than it can hold.
    monkeypatch.setattr(findings, "describe", lambda finding: finding.shape)
    monkeypatch.setattr(findings, "LEARNED", 2)
    monkeypatch.setattr(findings, "JUDGED", {"healthy": 12, "look-alikes": 12})
    monkeypatch.setattr(findings, "JUDGE_STEPS", {"healthy": 2, "look-alikes": 2})
    monkeypatch.setattr(findings, "default_recipe", lambda _: ResolvedRecipe(num_vectors=1, steps=1, batch_size=2))
    monkeypatch.setattr(compositions, "WEIGHTS", (0.0, 0.5, 1.0))
    monkeypatch.setattr(compositions, "SERIES", 2)
    monkeypatch.setattr(compositions, "COMBINED", 2)
    findings.learn.cache_clear()
    findings.judge.cache_clear()


@pytest.mark.thorough
def test_insertion_runs_each_set_once(tmp_path: Path) -> None:
    findings.keep_rows(tmp_path)
    trials = [
        insertion.phantoms(findings.SUBJECTS["prostate-cspca"], count=2),
        insertion.phantoms(findings.SUBJECTS["bright ring"], count=2, seed=9, guidance=3.0),
    ]
    rows: list[dict[str, Any]] = []
    insertion.study(trials, rows, rows.append)
    assert [row["set"] for row in rows] == ["untouched", "real", "inserted", "redrawn healthy"] * 2
    assert {row["finding"] for row in rows} == {"prostate-cspca", "bright ring, guidance 3"}
    insertion.study(trials, list(rows), lambda row: pytest.fail(f"measured again: {row}"))
    lines = insertion.table(rows).splitlines()
    assert len(lines) == 2 + 2 * 2 and all("| 2 |" in line for line in lines[2:])
    assert (tmp_path / "prostate-cspca.safetensors").is_file()
    findings.keep_rows(None)


def test_a_place_is_where_the_finding_of_that_patient_would_be() -> None:
    trial = insertion.phantoms(findings.SUBJECTS["cxr-effusion"], count=6)
    for image, place in zip(trial.images, trial.places, strict=True):
        assert place is not None
        rows, columns = np.nonzero(place)
        assert rows.min() > 50, "an effusion lies low"
        assert columns.max() < 72 or columns.min() > 56, "and on one side"
        assert image.shape[:2] == place.shape and 80 < place.sum() < 0.4 * place.size


def test_an_arm_that_was_not_drawn_is_the_image_itself() -> None:
    trial = insertion.phantoms(findings.SUBJECTS["bright ring"], count=2)
    assert trial.draw("untouched", 0) is trial.images
    inserted = trial.draw("inserted", 0)
    kept = np.stack([place for place in trial.places if place is not None]) == 0
    assert inserted.shape == trial.images.shape and (inserted != trial.images).any()
    assert (inserted == trial.images).all(-1)[kept].mean() > 0.5
    whole = replace(trial, places=[None, None]).draw("inserted", 0)
    assert (whole == trial.images).all(-1)[kept].mean() < 0.5


def test_an_adapter_draws_the_finding_and_is_taken_out_again(tiny: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(data: Path, part: str, labels: Any = ()) -> xray.Films:
        images = np.random.default_rng(len(part)).integers(0, 255, (3, xray.SIDE, xray.SIDE), np.uint8)
        return xray.Films(images, np.zeros(3, np.int64), tuple(f"{part} {number}" for number in range(3)))

    monkeypatch.setattr(xray, "read", read)
    monkeypatch.setattr(insertion, "xray_studio", lambda: replace(tiny, tokens=("<x>",)))
    few = {"steps": 2, "learning_rate": 0.1, "batch_size": 2, "precision": "float32"}
    monkeypatch.setattr(adapter_fit, "settle", lambda recipe, *_: replace(recipe, **few))
    trial = insertion.films(Path(), "both lungs", adapter=True)
    before = trial.draw("redrawn healthy", 0)
    with trial.ready("inserted") as (drawing, prompt):
        assert findings.TOKEN in str(prompt) and any("lora" in name for name in drawing.pipe.unet.state_dict())
    assert not any("lora" in name for name in tiny.pipe.unet.state_dict())
    assert (trial.draw("redrawn healthy", 0) == before).all() and (before != trial.images).any()
    assert (trial.draw("inserted", 0) != before).any()


def test_compositions_run_each_part_once(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = []
    only = ("bright ring", "bright spot and bright ring")
    compositions.study(tmp_path, rows, rows.append, only)
    assert [row["part"] for row in rows] == ["interpolation", *["combination"] * 7]
    compositions.study(tmp_path, list(rows), lambda row: pytest.fail(f"measured again: {row}"), only)
    text = compositions.table(rows)
    assert "| bright ring | against look-alikes |" in text and "| composed, weights 1 and 1 |" in text


def test_a_trend_is_told_from_none() -> None:
    rng = np.random.default_rng(0)
    rising = np.linspace(0.1, 0.9, 5) + 0.1 * rng.random((12, 5))
    assert compositions.trend(rising)["p"] < 1e-6 and compositions.trend(rising)["largest fall of the share"] == 0
    assert compositions.trend(rising[:, ::-1])["p"] > 0.9
    assert compositions.trend(rising[:, ::-1])["largest fall of the share"] > 0


@pytest.mark.parametrize("name", list(findings.SUBJECTS))
def test_a_look_alike_differs_and_an_instance_does_not(name: str) -> None:
    subject, rng = findings.SUBJECTS[name], np.random.default_rng(0)
    for _ in range(20):
        alike = subject.look_alike(rng)
        assert isinstance(alike, Finding) and not subject.is_it(alike)
        assert subject.taught is None or subject.is_it(subject.finding(rng))
