"""The demo played short: every command and page of it; figures are not looked at here."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def play(out: Path, *words: str, grids: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "examples.demo", "--short", "--out", str(out), *words]
    here = {name: value for name, value in os.environ.items() if not name.startswith("EMBHUB_") or "DATA" in name}
    done = subprocess.run(command, cwd=ROOT, env=here, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    summary: dict[str, Any] = json.loads((out / "summary.json").read_text())
    page = (out / "index.html").read_text()
    assert all(row["outcome"] in {"ok", "note", "warning"} for row in summary["verification"]["findings"])
    assert [case["exit_code"] for case in summary["tampering"]] == [4] * 4
    traced = summary["tracing"]
    assert traced["by_metadata"] == traced["of"] == 2 and traced["of_stripped"] == 2
    assert summary["log"]["witnessed"].startswith("fresh: a quorum of witnesses cosigned on ")
    assert summary["log"]["entries"] >= 3 and re.fullmatch(r"cosigned [\d,]+ entries", summary["log"]["cosigned"])
    withdrawn = summary["withdrawal"]
    assert (withdrawn["before"], withdrawn["after"]) == ("ok", "withdrawn") and withdrawn["reason"] in page
    assert withdrawn["status_exit_code"] == withdrawn["verify_exit_code"] == 8
    assert {"before", "after"} <= summary["recognised"].keys() and len(summary["utility"]["gain_interval"]) == 2
    assert page.count("data:image/png;base64,") == grids + 1 and (out / "work/site-b").exists()
    assert any("copy-check" in command for command in summary["commands"])
    assert (
        summary["audit"]["verdict"] == "bounded-by-claim"
        and "Bounded by the claim" in page
        and "claimed</text>" in page
    )
    assert all(command in page for command in ("embhub train", "embhub push", "embhub pull"))
    alive = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(out) not in alive, "a process of the demo is still running"
    return summary
