"""The study of adapters beside embeddings: every arm is trained, audited and judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bases.workshop.judge import Verdict
from bench import adapters, marked
from bench.results_file import ResultsFile
from embhub.options.adapter import AdapterRecipe
from embhub.options.training import Recipe

SHORT: dict[str, Any] = {
    "": None, "embedding": Recipe(steps=2, batch_size=4), "adapter": AdapterRecipe(steps=2, batch_size=4)
}  # fmt: skip


def test_the_page_shows_what_the_results_file_holds() -> None:
    rows, page = ResultsFile(adapters.RESULTS).rows, adapters.PAGE.read_text()
    assert len(rows) == 1 + (len(adapters.ARMS) - 1) * len(adapters.SEEDS)
    assert marked.put(page, adapters.table(rows)) == page


@pytest.mark.exhaustive
@pytest.mark.thorough
def test_each_arm_is_trained_audited_and_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path))

    def look(images: Any) -> Verdict:
        every = np.ones(len(images), bool)
        return Verdict(every, ~every)

    rows = [adapters.measure(arm, 1, look, generated=2, recipe=SHORT[arm.kind]) for arm in adapters.ARMS]
    assert all(row["finding and nothing else"]["share"] == 1 and row["loss"] > 0 for row in rows)
    assert all(0 <= row["leakage"]["low"] <= row["leakage"]["auc"] <= row["leakage"]["high"] <= 1 for row in rows[1:])
    assert rows[1]["bytes"] < rows[2]["bytes"] < 1_000_000
    assert adapters.table(rows).count("of 2 |") == len(adapters.ARMS)
