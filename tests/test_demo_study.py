"""The demo of three hospitals, short: processes, FLARE, every command and the page; its figures mean nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("nvflare")

from embhub.artifact import embedding
from embhub.privacy.claim import PrivacyClaim
from embhub.study.plan import read_study
from examples.demo.study import HOSPITALS, SHORT

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.exhaustive
def test_three_hospitals_train_one_embedding(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    command = [sys.executable, "-m", "examples.demo.study", "--short", "--out", str(out)]
    here = {name: value for name, value in os.environ.items() if not name.startswith("EMBHUB_") or "DATA" in name}
    done = subprocess.run(command, cwd=ROOT, env=here, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((out / "summary.json").read_text())
    (made,) = (out / "work/consortium").glob("*.safetensors")
    claim = embedding.read(made).privacy
    assert isinstance(claim, PrivacyClaim) and claim.study is not None

    plan = read_study(
        (out / "work/consortium/home/state/studies" / summary["study"] / "coordinator/study").read_bytes()
    )
    assert plan.digest == summary["study"] == claim.study.digest and plan.attempts == SHORT.steps
    noise = plan.noise
    recomputed = [noise.epsilon(one, delta=plan.delta) for one in (noise.against_outsiders, noise.against_sites)]
    assert recomputed == [summary["epsilon"], summary["epsilon_against_sites"]]
    assert 0 < recomputed[0] <= SHORT.epsilon < recomputed[1]

    record = json.loads(made.with_suffix(".study.json").read_text())
    assert set(record["consents"]) == set(record["joins"]) == set(HOSPITALS) == set(summary["ledger"])
    for name, rows in summary["ledger"].items():
        (row,) = rows
        assert 0 < int(row["patients"].split()[0]) < SHORT.patients and row["trainings"] == "1", name
        assert row["spent"] == f"epsilon {summary['epsilon_against_sites']}", name
    assert summary["verification"]["signer"]["namespace"] == "consortium"
    found = {finding["check"]: finding["outcome"] for finding in summary["verification"]["findings"]}
    assert "failed" not in found.values() and found["study"] == found["signature"] == "ok"

    page = (out / "index.html").read_text()
    assert page.count("data:image/png;base64,") == 3 and summary["study"] in page
    charged = {path.parents[2].name for path in (out / "work").glob("*/home/state/budget")}
    assert charged == set(HOSPITALS), "a coordinator and a reader have no patients"
