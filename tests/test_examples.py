"""The examples run as their docstrings say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_quickstart(tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / "quickstart.py"), str(tmp_path / "out"), "--steps", "2"]
    surroundings = {**os.environ, "EMBHUB_HOME": str(tmp_path / "home")}
    done = subprocess.run(command, capture_output=True, text=True, env=surroundings, check=False)
    assert done.returncode == 0, done.stderr
    assert "loss on patients kept back" in done.stdout
    assert len(list((tmp_path / "out").glob("?.png"))) == 4
    assert (tmp_path / "out" / "prostate-cspca.safetensors").stat().st_size < 20_000


def test_training_with_privacy(tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / "train_dp.py"), str(tmp_path / "out"), "--steps", "2"]
    surroundings = {**os.environ, "EMBHUB_HOME": str(tmp_path / "home")}
    done = subprocess.run(command, capture_output=True, text=True, env=surroundings, check=False)
    assert done.returncode == 0, done.stderr
    assert "differentially private training" in done.stdout and "private for each patient" in done.stdout
