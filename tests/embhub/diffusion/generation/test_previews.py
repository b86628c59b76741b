"""Previews: pictures on the way that change nothing of where it leads."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from embhub.diffusion.generation.previews import choose_folder
from embhub.diffusion.train import TrainResult
from embhub.errors import ConfigError, UsageError
from embhub.phantoms import write_dataset
from tests.support import pipelines
from tests.support.training import train


@pytest.fixture
def learn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    write_dataset(tmp_path / "images", "prostate-cspca", images=4, patients=4, normals=0, seed=0)
    base = pipelines.write(tmp_path / "base")

    def run(name: str, **choices: Any) -> TrainResult:
        choices = {"steps": 4, "num_vectors": 2, "batch_size": 2, "seed": 1, "learning_rate": 5.0, **choices}
        out = tmp_path / name
        return train(tmp_path / "images", token="<a>", caption="mri, {}", base=base, device="cpu", out=out, **choices)

    return run


@pytest.mark.thorough
def test_the_file_is_the_same_with_and_without(learn: Any, tmp_path: Path) -> None:
    plain = learn("plain.safetensors")
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    seen = learn("seen.safetensors", preview=2)
    assert torch.equal(torch.rand(1), expected)
    assert seen.embedding.data == plain.embedding.data and seen.losses == plain.losses
    folder = tmp_path / "seen-previews"
    assert sorted(p.name for p in folder.iterdir()) == ["step-000002.png", "step-000004.png"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert all(stat.S_IMODE(p.stat().st_mode) == 0o600 for p in folder.iterdir())


@pytest.mark.thorough
def test_a_sheet_has_a_row_without_and_a_row_with(learn: Any, tmp_path: Path) -> None:
    learn("x.safetensors", preview=1, preview_dir=tmp_path / "sheets")
    side = pipelines.RESOLUTION
    sheets = [np.asarray(Image.open(p)) for p in sorted((tmp_path / "sheets").iterdir())]
    assert len(sheets) == 4 and all(sheet.shape == (2 * side, 4 * side, 3) for sheet in sheets)
    assert np.array_equal(sheets[0][:side], sheets[3][:side])
    assert not np.array_equal(sheets[0][side:], sheets[3][side:])
    assert not np.array_equal(sheets[0][:side], sheets[0][side:])


def test_where_they_go(tmp_path: Path) -> None:
    assert choose_folder(None, None, tmp_path / "x.safetensors") is None
    assert choose_folder(5, None, tmp_path / "x.safetensors") == tmp_path / "x-previews"
    assert choose_folder(5, tmp_path / "y", None) == tmp_path / "y"
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError):
        choose_folder(5, tmp_path / "file", None)
    for every, folder in ((5, None), (0, tmp_path), (None, tmp_path)):
        with pytest.raises(UsageError):
            choose_folder(every, folder, None)
