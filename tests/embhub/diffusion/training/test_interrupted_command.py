"""What `embhub train` says when it is interrupted: how to resume, and which files remain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from embhub.__main__ import INTERRUPTED, main


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 255, (64, 64), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def stop_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    real, taken = torch.optim.AdamW.step, [0]

    def step(self: Any, *arguments: Any) -> Any:
        if taken[0] == steps:
            raise KeyboardInterrupt
        taken[0] += 1
        return real(self, *arguments)

    monkeypatch.setattr(torch.optim.AdamW, "step", step)


@pytest.mark.thorough
def test_an_interruption_names_the_files_that_remain(
    images: Path, base: Path, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = tmp_path / "a.safetensors"
    words = ["train", str(images), "--token", "<a>", "--caption", "mri, {}", "--base", str(base), "--out", str(out)]
    stop_after(2, monkeypatch)
    assert main([*words, "--steps", "6", "--num-vectors", "1", "--batch-size", "2", "--preview", "1"]) == INTERRUPTED
    said = capsys.readouterr().err
    assert "interrupted after step 2; to resume:" in said and "--resume" in said
    assert f"{out}: not written" in said and not out.exists()
    (checkpoint,) = home.rglob("*.checkpoint")
    assert f"{checkpoint}: the checkpoint" in said
    assert len(list((tmp_path / "a-previews").iterdir())) == 2
    assert f"{tmp_path / 'a-previews'}: 2 preview sheets" in said


def test_an_earlier_file_is_named_as_such(
    images: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a.safetensors"
    out.write_bytes(b"earlier")
    words = ["train", str(images), "--token", "<a>", "--caption", "mri, {}", "--base", str(base), "--out", str(out)]
    stop_after(1, monkeypatch)
    assert main([*words, "--steps", "6", "--num-vectors", "1", "--batch-size", "2", "--overwrite"]) == INTERRUPTED
    said = capsys.readouterr().err
    assert f"{out}: still the earlier one" in said and "preview" not in said
    assert out.read_bytes() == b"earlier"
