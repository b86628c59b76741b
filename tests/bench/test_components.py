"""The study of components: its parts keep patients apart, its measures see what they should, its page says what is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bases.workshop import xray
from bench import components, components_page, marked
from bench.likeness import FilmFeatures, kernel_distance
from embhub.diffusion.adaptation import checkpoint, loop
from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.evaluation import classifier
from embhub.diffusion.training.checkpoints import TrainingInterruptedError
from tests.support.tools import DATA, needs_films

ROW: dict[str, Any] = {
    "arm": "original", "seed": 0, "seconds": 0.0, "kid": {"mean": 2.5, "sd": 0.1, "subset": 60}, "autoencoder_db": 21.8,
    "called_normal_of_normal": 0.9, "called_pneumonia_of_pneumonia": 0.25, "nearest_taught": 0.356, "n": 96,
}  # fmt: skip


@pytest.mark.thorough
@needs_films
def test_films_taught_kept_back_and_compared_with_are_of_different_patients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(components, "xray_judge_for", lambda *_: None)
    monkeypatch.setattr(FilmFeatures, "learn", lambda *_: None)
    material = components.gather(DATA)
    shown = {
        part: {film.tobytes() for films in group.values() for film in films}
        for part, group in (("taught", material.taught), ("kept", material.kept), ("test", material.test))
    }
    assert not shown["taught"] & shown["kept"] and not (shown["taught"] | shown["kept"]) & shown["test"]
    counts = [len(films) for films in material.taught.values()]
    assert counts == [270, 300], "the page says so"


@pytest.mark.thorough
def test_an_arm_that_was_left_is_gone_on_with_and_learns_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(components, "STEPS", 4)
    monkeypatch.setattr(components, "BATCH", 2)
    films = np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3), dtype=np.uint8)
    pictures = {"normal": films[:3], "pneumonia": films[3:]}
    unused: dict[str, Any] = {"judge": None, "features": None}
    material = components.Material(pictures, pictures, pictures, **unused)
    weights, arm = [], components.ARMS[1]
    for name, stop in (("whole", 0), ("left", 2)):
        work = tmp_path / name
        work.mkdir()
        if stop:
            monkeypatch.setattr(checkpoint, "SECONDS", 0.0)
            monkeypatch.setattr(loop, "_any", lambda *_: True)
            with pytest.raises(TrainingInterruptedError):
                components.adapt(material, load_pipeline(components.BASE, device="cpu"), arm, 0, work)
            monkeypatch.undo()
            monkeypatch.setattr(components, "STEPS", 4)
            monkeypatch.setattr(components, "BATCH", 2)
        row = components.adapt(material, load_pipeline(components.BASE, device="cpu"), arm, 0, work)
        assert row["weights"] > 4_000_000 and row["seconds"] > 0 and len(row["held_out_loss"]) == 3
        assert [path.name for path in work.iterdir()] == ["U-Net-0.safetensors"]
        weights.append((work / "U-Net-0.safetensors").read_bytes())
    assert weights[0] == weights[1]


@pytest.mark.thorough
def test_the_distance_grows_with_what_is_wrong_and_is_about_nothing_between_two_halves() -> None:
    generator = np.random.default_rng(0)
    films = generator.normal(110, 30, (160, 64, 64, 1)).clip(0, 255).astype(np.uint8).repeat(3, 3)
    labels = generator.integers(0, 3, 160)
    features = FilmFeatures(classifier.fit(films, labels, classes=xray.LABELS, steps=20).network)
    same = kernel_distance(features, films[:80], films[80:])
    brighter = (films[80:].astype(int) + 60).clip(0, 255).astype(np.uint8)
    assert abs(same["mean"]) < 0.2 * kernel_distance(features, films[:80], brighter)["mean"]
    assert same == kernel_distance(features, films[:80], films[80:])


def test_the_page_has_the_table_of_what_was_measured_and_names_the_rest() -> None:
    settings = {"machine": {"processor": "one", "busy before the run": "load 1"}}
    made = components_page.compose({"rows": [ROW], "settings": settings})
    assert "| original |  | 2.50 (0.10) | 90% | 25% | 0.36 | 21.8 |  |" in made
    assert "Not measured yet: real films of other patients, U-Net, textual inversion" in made


def test_the_page_is_what_the_results_say() -> None:
    page = components_page.PAGE.read_text(encoding="utf-8")
    study = json.loads(components.RESULTS.read_text(encoding="utf-8"))
    assert marked.put(page, components_page.compose(study)) == page, "python -m bench.components_page"
    assert {row["arm"] for row in study["rows"]} <= {arm.name for arm in components.ARMS} | {components_page.FLOOR}
    assert xray.LABELS[0] == components.CLASSES[0]
