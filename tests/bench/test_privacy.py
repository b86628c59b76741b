"""The study of what privacy costs runs, keeps what it measured, and does not measure it again. Figures mean nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bench import privacy
from embhub.diffusion.bases.pipelines import freeze
from embhub.diffusion.training import inversion
from embhub.diffusion.training.recipes import ResolvedRecipe
from tests.support import pipelines


@pytest.fixture(scope="module")
def material() -> privacy.Material:
    pipe = pipelines.build()
    freeze(pipe)
    pipe.set_progress_bar_config(disable=True)
    images = torch.rand(14, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    latents = inversion.encode_images(pipe, images)
    return privacy.Material("tiny", pipe, "mri, {}", latents[:12], tuple("aabcdefghijk"), latents[12:])


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(privacy.PATIENTS, "tiny", 10)
    monkeypatch.setattr(privacy, "COMPACT", ResolvedRecipe(steps=1, batch_size=2))


@pytest.mark.thorough
def test_every_arm_runs_once_and_is_kept(material: privacy.Material, monkeypatch: pytest.MonkeyPatch) -> None:
    arms = [
        ("nothing learned", None, {}),
        ("dp-sgd", 8.0, {"steps": 2, "batch_size": 5, "directions": 4}),
        ("dp-agg", 8.0, {"steps": 1, "mechanism": "dp-agg", "draws": 1}),
        ("plain", None, {"vectors": 1}),
    ]
    monkeypatch.setattr(privacy, "arms", lambda: iter(arms))
    rows: list[dict[str, Any]] = []
    privacy.study(material, 2, rows, rows.append, [])
    assert len(rows) == 7 and all(row["loss"] > 0 for row in rows)
    privacy.study(material, 2, list(rows), rows.append, [])
    assert len(rows) == 7
    shown = privacy.table(rows)
    assert "| `tiny` | dp-agg | 8.0 |" in shown and " ± " in shown


def test_steps_are_compared_side_by_side(material: privacy.Material) -> None:
    rows = privacy.race(material, repeats=1, turn=1, patients=2, draws=2)
    assert [row["arm"] for row in rows] == ["dp-sgd over plain", "dp-sgd over opacus hooks"]
    assert all(row["ratio"] > 0 for row in rows) and "| dp-sgd over opacus hooks: 2 x 2 | " in privacy.table(rows)


def test_a_share_of_the_gain_has_the_interval_of_its_runs() -> None:
    """Student's t with two runs: 12.706 standard errors, in units of the plain gain."""
    told = {"part": "utility", "base": "tiny", "seconds": 1.0}
    rows = [
        {**told, "arm": privacy.NOTHING, "epsilon": None, "loss": 0.5},
        {**told, "arm": privacy.PLAIN, "epsilon": None, "loss": 0.4},
        {**told, "arm": "dp-sgd", "epsilon": 2.0, "loss": 0.430},
        {**told, "arm": "dp-sgd", "epsilon": 2.0, "loss": 0.432},
        {**told, "arm": "dp-agg", "epsilon": 2.0, "loss": 0.45},
    ]
    shown = privacy.utilities(rows)
    assert "| dp-sgd | 2.0 | 0.4310 ± 0.0127 | 69% ± 13% | 2 |" in shown
    assert "| dp-agg | 2.0 | 0.4500 | 50% | 1 |" in shown
