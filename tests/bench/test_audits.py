"""The studies of audits, as small as they go: what they write down, and what their tables say of that."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import audit_designs, leaks
from embhub.diffusion.bases.pipelines import load_pipeline
from tests.support import pipelines


@pytest.fixture
def pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(audit_designs, "patients", lambda count, seed: torch.rand(count, 3, 16, 16) * 2 - 1)
    for name, value in (("PATIENTS", 8), ("DRAWS", 2), ("IMAGES", 8)):
        monkeypatch.setattr(audit_designs, name, value)
    return load_pipeline(pipelines.write(tmp_path / "tiny"), device="cpu")


@pytest.mark.thorough
def test_both_designs_are_tried_on_the_same_losses(pipe: Any) -> None:
    tiny = replace(leaks.STRONG, num_vectors=1, steps=1, batch_size=2)
    losses, coins = audit_designs.try_group(pipe, 0, recipe=tiny)
    assert losses.shape == (16, 16, 2) and coins.shape == (16, 8)
    people = [("small leak", losses[:, :8]), ("no leak", losses[:, 8:])]
    rows = [
        {"part": "power", "group": group, "truth": truth, **row}
        for group in range(2)
        for truth, seen in people
        for row in audit_designs.compare(seen, coins)
    ]
    assert len(rows) == 2 * 2 * 2 * 5
    table = audit_designs.table(rows)
    assert table.count("lira-shadows") == 2


@pytest.mark.thorough
def test_cost_is_in_units_of_a_training(pipe: Any) -> None:
    rows = list(audit_designs.weigh(pipe, steps=1, rounds=1))
    assert rows[0]["together"] == 4
    assert "trainings' time" in audit_designs.table(rows)


def test_the_table_says_by_how_much_the_designs_differ() -> None:
    rows = [
        {"part": "power", "group": group, "truth": "small leak", "attack": "lira-shadows", "design": design,
         "auc": auc, "tpr": 0.25, "p": p}
        for design, p, areas in (("apart", 0.5, (0.6, 0.7)), ("in turn", 0.01, (0.7, 0.8)))
        for group, auc in enumerate(areas)
    ]  # fmt: skip
    line = audit_designs.table(rows).splitlines()[2]
    assert line == ("| `lira-shadows` | small leak | 0.650 | 0.750 | +0.100 [+0.100, +0.100] | 0.25, 0.25 | 0%, 100% |")
