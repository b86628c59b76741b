"""The bench of several sites: a short run of two sites, and its table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench import sites
from bench.privacy import gather
from bench.results_file import ResultsFile, Row
from embhub.diffusion.dp.settings import default_recipe


def row(arm: str, seed: int, loss: float, **costs: float) -> Row:
    return {"base": "b", "arm": arm, "seed": seed, "loss": loss, **costs}


def test_the_table_has_gains_over_the_words_alone() -> None:
    rows = [row("nothing learned", 0, 0.45), row("5 sites of 16", 0, 0.44, cpu_ms=2.0, bytes=7000.0)]
    rows += [row("5 sites of 16", 1, 0.42, cpu_ms=4.0, bytes=7000.0)]
    line = sites.table(rows).splitlines()[-1]
    assert line.startswith("| `b` | 5 sites of 16 | 0.0200 ±") and line.endswith("| 2 | 3 | 7,000 |")


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.exhaustive
def test_two_sites_learn_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sites, "ARMS", (sites.Arm("2 sites of 10", 2, 10, 20),))
    monkeypatch.setattr(sites, "default_recipe", lambda *given: replace(default_recipe(*given), steps=2))
    results = ResultsFile(tmp_path / "sites.json")
    for found in sites.study(gather("builtin", tmp_path), 1, []):
        results.keep(found)
    assert [found["arm"] for found in results.rows] == ["nothing learned", "2 sites of 10"]
    assert results.rows[1]["bytes"] > 2000 and results.rows[1]["cpu_ms"] > 0
