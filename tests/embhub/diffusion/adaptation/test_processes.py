"""Several processes of `accelerate launch` share a batch, and end where one would."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

ROOT = Path(__file__).parents[4]


@pytest.mark.thorough
def test_two_processes_end_where_one_would_but_for_rounding(base: Path, tmp_path: Path) -> None:
    images, generator = tmp_path / "films", np.random.default_rng(0)
    images.mkdir()
    for number in range(8):
        Image.fromarray(generator.integers(0, 256, (32, 32), dtype=np.uint8)).save(images / f"f{number}.png")
    asked = ["--component", "unet", "--component", "text-encoder", "--caption", "film", "--device", "cpu"]
    asked += ["--steps", "4", "--batch-size", "4", "--holdout", "0.25", "--learning-rate", "1e-3"]
    asked += ["--precision", "float32"]
    launch = ["accelerate.commands.launch", "--cpu", "--num_processes", "2", "--num_machines", "1", "-m", "embhub"]
    found = []
    for name, start in {"one": ["embhub"], "two": launch}.items():
        words = ["base", "train-component", str(base), str(images), *asked, "--out", str(tmp_path / name)]
        environment = {**os.environ, "EMBHUB_HOME": str(tmp_path / f"home-{name}"), "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-m", *start, *words],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("trained on") == 1, "the first process alone speaks"
        found.append(load_file(tmp_path / name / "unet/diffusion_pytorch_model.safetensors"))
    one, two = found
    assert all(torch.allclose(one[key], two[key], atol=1e-3) for key in one)
