"""The private demo, short: every command and page of it; its figures mean nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.exhaustive
def test_private_beside_plain(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    command = [sys.executable, "-m", "examples.demo.private", "--short", "--out", str(out)]
    here = {name: value for name, value in os.environ.items() if not name.startswith("EMBHUB_") or "DATA" in name}
    done = subprocess.run(command, cwd=ROOT, env=here, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((out / "summary.json").read_text())
    assert 0 < summary["claim"]["epsilon"] <= 4
    assert sorted(row["spent"].split(":")[0] for row in summary["ledger"]) == [
        f"epsilon {summary['claim']['epsilon']}",
        "without bound",
    ]
    assert summary["mechanism"]["suite"] == "mechanism" and summary["mechanism"]["coins"]["coins"] == 1000
    assert {audit["suite"] for audit in summary["audits"].values()} == {"standard"}
    page = (out / "index.html").read_text()
    assert page.count("data:image/png;base64,") == 3 and "probability" in page
    published = out / "work/site-b/cxr-effusion"
    assert '"unit":"canary"' in (published / "audit.json").read_text()
