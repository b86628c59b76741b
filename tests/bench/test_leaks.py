"""The study of planted leaks, as small as it goes: what it writes down, what it does not do twice, and its table."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import leaks
from bench.results_file import ResultsFile, Row
from embhub.diffusion.attacks import nearest, reidentification
from embhub.diffusion.bases.pipelines import load_pipeline
from tests.support import pipelines


@pytest.fixture
def pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(leaks, "patients", lambda count, seed: torch.rand(count, 3, 32, 32) * 2 - 1)
    for name, value in (("PATIENTS", 12), ("DRAWS", 2), ("FILES", 1), ("TARGETS", 2)):
        monkeypatch.setattr(leaks, name, value)
    tiny = replace(leaks.STRONG, num_vectors=2, steps=1, batch_size=2)
    monkeypatch.setattr(leaks, "STRONG", tiny)
    monkeypatch.setattr(leaks, "LEAKS", {"strong leak": tiny, "small leak": replace(tiny, steps=2)})
    for module, name, small in ((nearest, "DRAWN", 2), (nearest, "STEPS", 1), (reidentification, "STEPS", 1)):
        monkeypatch.setattr(module, name, small)
    return load_pipeline(pipelines.write(tmp_path / "tiny"), device="cpu")


@pytest.mark.thorough
def test_every_attack_is_tried_on_every_truth_and_not_twice(pipe: Any, tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    leaks.run(pipe, ResultsFile(path), groups=1)
    rows = json.loads(path.read_text())
    assert sorted((row["truth"], row["attack"]) for row in rows) == sorted(
        (truth, attack) for truth in ("no leak", "small leak", "strong leak") for attack in leaks.MEASURED["thorough"]
    )
    assert all(sum(row["units"]) == 12 * (2 if row["attack"] == "lira-shadows" else 1) for row in rows)
    before = path.read_bytes()
    leaks.run(pipe, ResultsFile(path), groups=1)
    assert path.read_bytes() == before
    path.write_text(json.dumps(rows[:-1]))  # interrupted before its last row: that leak's group is tried again, alone
    leaks.run(pipe, ResultsFile(path), groups=1)
    again = json.loads(path.read_text())
    assert again[: len(rows) // 3 * 2] == rows[: len(rows) // 3 * 2] and len(again) == len(rows)


def row(truth: str, attack: str, trial: int, p: float, auc: float = 0.5) -> Row:
    return {"part": "truths", "truth": truth, "attack": attack, "group": 0, "trial": trial, "p": p, "auc": auc}


def test_the_table_counts_alarms_of_attacks_and_of_whole_audits() -> None:
    """0.01 is enough for one attack alone, and not for one of six that share the level."""
    rows = [
        row("no leak", name, trial, 0.01 if (name, trial) == ("rmia", 0) else 0.5)
        for name in leaks.MEASURED["thorough"]
        for trial in range(2)
    ]
    rows += [
        row("strong leak", name, trial, 0.01 if name == "lira-shadows" else 0.5, 0.8)
        for name in leaks.MEASURED["thorough"]
        for trial in range(2)
    ]
    table = "\n".join(leaks.table(rows))
    assert "| `rmia` | 1 of 2 [0.01, 0.99] | 0.50 | not measured |  | 0 of 2 [0.00, 0.84] | 0.80 |" in table
    assert "| all of `standard` | 0 of 2 [0.00, 0.84] |  | not measured |  | 2 of 2 [0.16, 1.00] |" in table
