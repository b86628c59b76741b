"""The study of the first seed runs on the real base, keeps what it drew and taught, and writes what it measured."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from bench import first_seed
from bench import first_seed_material as material
from embhub.diffusion.evaluation import fitting

DATA = Path(__file__).parents[1] / "no-such-folder"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"EACH": 6, "TEST": 8, "DRAWN": 2, "STEPS": 1, "SAMPLING": 1}.items():
        monkeypatch.setattr(material, name, value)
    for module in (material, first_seed):
        monkeypatch.setattr(module, "VECTORS", (2,))
        monkeypatch.setattr(module, "IMAGES", (6, 2))
    monkeypatch.setattr(first_seed, "STEPS", 1)
    monkeypatch.setattr(first_seed, "NOISES", (0.0, 3.0))
    monkeypatch.setattr(first_seed, "ROOM", -1.0)
    everything = material.tasks
    monkeypatch.setattr(material, "tasks", lambda data: [task for task in everything(data) if task.name == "histology"])


@pytest.mark.thorough
@pytest.mark.exhaustive
def test_it_runs_once_and_prints_what_it_keeps(
    small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    places = ["--data", str(DATA), "--work", str(tmp_path / "work"), "--results", str(tmp_path / "found.json")]
    monkeypatch.setattr(sys, "argv", ["first_seed", "--seeds", "2", *places])
    first_seed.main()
    printed = capsys.readouterr().out
    found = json.loads((tmp_path / "found.json").read_text())
    row = found["tasks"][0]
    cells = {(one["real"], one["arm"], one["drawn"]) for one in row["aucs"]}
    assert cells == {
        (12, "", 0), (12, "2 vectors, 6 images", 4), (0, "2 vectors, 6 images", 4),
        (4, "", 0), (4, "2 vectors, 2 images", 4), (0, "2 vectors, 2 images", 4),
    }  # fmt: skip
    assert {(one["real"], one["arm"]) for one in row["differences"]} == {
        (12, "2 vectors, 6 images"), (4, "2 vectors, 2 images"),
    }  # fmt: skip
    assert row["noise"] == 3.0 and set(row["real_alone_by_noise"]) == {"0", "3"} and row["test_images"] == 16
    assert "| histology | 12 real and 4 drawn (2 vectors, 6 images) |" in printed

    def never(*_: object) -> None:
        raise AssertionError("drawn or taught again")

    monkeypatch.setattr(material, "_learn_and_draw", never)
    monkeypatch.setattr(fitting, "fit", never)
    monkeypatch.setattr(sys, "argv", ["first_seed", "--judge", "--seeds", "2", *places])
    first_seed.main()
    assert json.loads((tmp_path / "found.json").read_text()) == found


@pytest.mark.thorough
@pytest.mark.exhaustive
def test_the_three_parts_of_a_task_are_of_others_and_half_show_the_finding() -> None:
    task = material.phantom_task("histology", "ring", material.ring, 3)
    parts = (task.learn, task.tune, task.test)
    assert len({one for part in parts for one in part.patients}) == sum(len(part.patients) for part in parts)
    assert all(part.labels.mean() == 0.5 for part in parts)
    pixels = {image.tobytes() for part in parts for image in part.images}
    assert len(pixels) == sum(len(part.images) for part in parts)


def test_noise_covers_all_channels_alike_and_is_the_same_each_time() -> None:
    images = np.full((2, 4, 4, 3), 128, np.uint8)
    once, twice = first_seed.grain(images, 0.2, 1), first_seed.grain(images, 0.2, 1)
    assert np.array_equal(once, twice) and once.std() > 10
    assert np.array_equal(once[..., 0], once[..., 2])
    assert np.array_equal(first_seed.grain(images, 0.0, 1), images)


def test_the_page_holds_what_the_results_hold() -> None:
    page = first_seed.PAGE.read_text()
    results = json.loads(first_seed.RESULTS.read_text())
    assert first_seed.put_into(page, results) == page
    assert len(results["tasks"]) == 4 and results["protocol"]["seeds"] >= 3


def test_a_page_without_a_place_is_refused() -> None:
    with pytest.raises(ValueError, match="no place"):
        first_seed.put_into("# Page", {"protocol": {}, "tasks": []})
