"""The examples run as their docstrings say."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

import embhub
from embhub.phantoms import write_dataset

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.mark.thorough
def test_quickstart(tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / "quickstart.py"), str(tmp_path / "out"), "--steps", "2"]
    surroundings = {**os.environ, "EMBHUB_HOME": str(tmp_path / "home")}
    done = subprocess.run(command, capture_output=True, text=True, env=surroundings, check=False)
    assert done.returncode == 0, done.stderr
    assert "loss on patients kept back" in done.stdout
    assert len(list((tmp_path / "out").glob("?.png"))) == 4
    assert (tmp_path / "out" / "prostate-cspca.safetensors").stat().st_size < 20_000


def play(monkeypatch: pytest.MonkeyPatch, name: str, *words: object) -> None:
    """Run an example here, where PyTorch is loaded already."""
    monkeypatch.setattr(sys, "argv", [name, *map(str, words)])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")


@pytest.mark.thorough
def test_training_with_privacy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    play(monkeypatch, "train_dp.py", tmp_path / "out", "--steps", 2)
    said = capsys.readouterr().out
    assert "differentially private training" in said and "private for each patient" in said


@pytest.mark.thorough
def test_textual_inversion_in_one_file_learns_what_train_learns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit, with a last batch of images that is not full, over warm-up and decay."""
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    manifest = write_dataset(tmp_path / "images", "prostate-cspca", images=37, patients=20, seed=0)
    out = tmp_path / "minimal.safetensors"
    play(monkeypatch, "textual_inversion_minimal.py", manifest, out, "--steps", 6, "--seed", 3)
    result = embhub.train(
        manifest,
        token="<cspca>",
        caption="prostate mri with {}",
        base="builtin",
        recipe=embhub.Recipe(steps=6),
        seed=3,
        device="cpu",
    )
    learned, expected = load_file(out)["emb_params"], result.embedding.tensors["emb_params"]
    assert learned.dtype == expected.dtype
    assert np.array_equal(learned, expected)


@pytest.mark.thorough
def test_see_it_pulls_and_generates_without_a_network(tmp_path: Path) -> None:
    """The first command of the README; proxies that nobody answers stand for a machine without a network."""
    surroundings = {**os.environ, "HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
    surroundings |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    command = [sys.executable, "-m", "examples.see_it", "--out", str(tmp_path / "out"), "-n", "1"]
    done = subprocess.run(command, capture_output=True, text=True, env=surroundings, cwd=EXAMPLES.parent, check=False)
    assert done.returncode == 0, done.stderr
    assert "[transformers]" not in done.stdout + done.stderr, "advice that a reader cannot follow"
    rows = np.asarray(Image.open(tmp_path / "out" / "see-it.png").convert("L")).astype(float)
    above, below = np.array_split(rows, 2)
    assert np.abs(above - below).mean() > 2, "the embedding changes what the same seeds give"
    assert (tmp_path / "out/cxr-bacterial-pneumonia/attestations/publish.sigstore.json").is_file()
