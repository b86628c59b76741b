"""The study of private images keeps what it measured, and chooses nothing on test images. Figures mean nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bases.workshop import xray
from bench import marked, private_images
from bench.private_images import CONTROLS, EPSILONS, PRIVATE, REAL, Study
from bench.results_file import ResultsFile
from embhub.builtin_bases import info
from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.evaluation import classifier
from embhub.diffusion.evaluation.cells import Labelled


def pictures(count: int, seed: int, brightness: int = 100) -> Any:
    rng = np.random.default_rng(seed)
    grey = np.clip(rng.normal(brightness, 20, (count, 32, 32)), 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, -1)


@pytest.fixture(scope="module")
def study() -> Study:
    base = info("builtin-xray")
    sick, normal = pictures(12, 1, 160), pictures(12, 2)
    labels = np.repeat(np.array([0, 1]), 12)
    films = xray.Films(pictures(12, 3, 160)[..., 0], np.ones(12, np.int64), tuple(f"p{n}" for n in range(12)))
    test = Labelled(np.concatenate([normal, sick]), labels, tuple(map(str, range(24))))
    judge = classifier.fit(test.images, labels, classes=private_images.CLASSES, steps=2, side=32)
    return Study(load_pipeline(base.path, device="cpu"), base, films, pictures(12, 4)[..., 0], test, judge)


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private_images, "GENERATED", 6)
    monkeypatch.setattr(private_images, "STEPS", 3)
    monkeypatch.setattr(private_images, "SIDE", 32)


def test_rows_are_measured_once_and_by_seed(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    made = pictures(6, 5), pictures(6, 6, 160)
    monkeypatch.setattr(Study, "images", lambda *_: made)
    rows: list[dict[str, Any]] = []
    private_images.run(study, 1, [], rows.append)
    assert len(rows) == len(CONTROLS) + len(PRIVATE) * len(EPSILONS)
    private_images.run(study, 1, rows, lambda row: pytest.fail("measured again"))
    private_images.run(study, 1, [{**row, "fingerprint": "0" * 64} for row in rows[1:]], rows.append)
    assert len(rows) == 2 * (len(CONTROLS) + len(PRIVATE) * len(EPSILONS)), "rows of another base count for nothing"
    assert all(0 <= row["auc"] <= 1 and 0 <= row["balanced_accuracy"] <= 1 for row in rows)


def test_the_table_has_means_and_ranges() -> None:
    row = {"method": REAL, "epsilon": None, "seed": 0, "auc": 0.9, "balanced_accuracy": 0.8, "kid": 0.1,
           "density": 1.0, "coverage": 0.5}  # fmt: skip
    shown = private_images.table([row, {**row, "seed": 1, "auc": 0.8}])
    assert "| real X-rays | - | 0.850 (0.800 to 0.900) | 0.800 (0.800 to 0.800) |" in shown and "| 2 |" in shown
    assert private_images.table([]) == "Not measured yet."


def test_the_page_has_what_was_measured() -> None:
    rows = private_images.present(ResultsFile(private_images.RESULTS).rows)
    page = private_images.PAGE.read_text(encoding="utf-8")
    assert page == marked.put(page, private_images.table(rows))


def test_weights_are_chosen_on_generated_images_that_were_not_learned_from(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}
    fit = classifier.fit

    def watched(images: Any, labels: Any, **how: Any) -> Any:
        seen.update(images=images, held=how["held"][0])
        return fit(images, labels, **how)

    monkeypatch.setattr(classifier, "fit", watched)
    private_images.score(pictures(10, 7), pictures(10, 8, 160), study.test.images, 0)
    learned, held = ({image.tobytes() for image in seen[name]} for name in ("images", "held"))
    test = {image.tobytes() for image in study.test.images}
    assert len(learned) == 16 and len(held) == 4 and not learned & held and not (learned | held) & test


def test_data_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="--data"):
        private_images.gather(tmp_path)
