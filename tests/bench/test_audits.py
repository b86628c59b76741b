"""The study of audits, as small as it goes: what it writes down, and what its table says of that."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import audits
from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.training.recipes import COMPACT
from tests.support import pipelines

Row = dict[str, Any]


@pytest.fixture
def pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(audits, "patients", lambda count, seed: torch.rand(count, 3, 16, 16) * 2 - 1)
    return load_pipeline(pipelines.write(tmp_path / "tiny"), device="cpu")


def test_cost(pipe: Any) -> None:
    rows: list[Row] = []
    audits.weigh(pipe, rows.append, images=12, recipe=replace(COMPACT, num_vectors=1, steps=1, batch_size=2), most=4)
    assert [row["shadows"] for row in rows][-1] == 4
    assert all(row["trainings"] > 0 and 0 <= row["auc"] <= 1 for row in rows)
    assert "trainings' time" in audits.table(rows)
