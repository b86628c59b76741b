"""The study of audits, as small as it goes: what it writes down, and what its table says of that."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import audits
from embhub.diffusion.pipelines import load_pipeline
from embhub.diffusion.recipes import COMPACT
from tests import pipelines

Row = dict[str, Any]


@pytest.fixture
def pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(audits, "patients", lambda count, seed: torch.rand(count, 3, 16, 16) * 2 - 1)
    return load_pipeline(pipelines.write(tmp_path / "tiny"), device="cpu")


def test_truths(pipe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audits, "THOROUGH", {name: audits.THOROUGH[name] for name in ("loss", "pia")})
    monkeypatch.setattr(audits, "LEAKING", replace(COMPACT, vectors=2, steps=1, batch_size=2))
    for name, value in (("LEARNED", 12), ("OTHERS", 12), ("SPARE", 4), ("PRIVATE_PATIENTS", 10)):
        monkeypatch.setattr(audits, name, value)
    rows: list[Row] = []
    audits.try_truths(pipe, 0, rows.append)
    assert {(row["truth"], row["attack"]) for row in rows} == {
        (truth, attack) for truth in ("overfit", "strangers", "private, epsilon 2") for attack in ("loss", "pia")
    }
    assert {row["truth"]: row["units"] for row in rows} == {
        "overfit": [12, 12], "strangers": [4, 4], "private, epsilon 2": [10, 22],
    }  # fmt: skip
    assert "| strangers | `loss` |" in audits.table(rows)


def test_how_often_an_attack_says_leak() -> None:
    rows: list[Row] = [
        {"part": "truths", "truth": "overfit", "attack": "clid", "seed": seed, "auc": 0.8, "p": p, "units": [8, 24]}
        for seed, p in enumerate((0.001, 0.02, 0.03, 0.5))
    ]
    assert "| overfit | `clid` | 2 of 4 | 0.07 to 0.93 | 0.80 |" in audits.table(rows)


def test_cost(pipe: Any) -> None:
    rows: list[Row] = []
    audits.weigh(pipe, rows.append, images=12, recipe=replace(COMPACT, vectors=1, steps=1, batch_size=2), most=4)
    assert [row["shadows"] for row in rows][-1] == 4
    assert all(row["trainings"] > 0 and 0 <= row["auc"] <= 1 for row in rows)
    assert "trainings' time" in audits.table(rows)
