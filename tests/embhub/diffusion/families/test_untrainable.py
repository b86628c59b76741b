"""Bases that load and draw, and on which no loss is defined here: refused in words, before anything is computed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import EDMEulerScheduler, StableDiffusionInpaintPipeline, UNet2DConditionModel

from embhub.__main__ import main
from embhub.diffusion.families import check_trainable
from embhub.phantoms import write_dataset
from tests.support import families, kandinsky, pipelines


def nine_channels(folder: Path) -> Path:
    plain: Any = pipelines.build()
    with torch.random.fork_rng(devices=[]):
        unet = UNet2DConditionModel.from_config(plain.unet.config, in_channels=9).eval()
    parts = {**plain.components, "unet": unet}
    StableDiffusionInpaintPipeline(**parts, requires_safety_checker=False).save_pretrained(folder)
    return folder


def edm(folder: Path) -> Path:
    pipe = pipelines.build()
    pipe.scheduler = EDMEulerScheduler(prediction_type="epsilon")
    pipe.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (nine_channels, "U-Net reads 9 channels, and its autoencoder makes 4"),
        (edm, "EDMEulerScheduler of prediction type"),
    ],
)
def test_they_are_usage_errors_with_a_hint(
    write: Any, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dataset(tmp_path / "images", "prostate-cspca", images=4, patients=4, normals=0, seed=0)
    words = ["--token", "<a>", "--caption", "mri, {}", "--base", str(write(tmp_path / "base")), "--device", "cpu"]
    assert main(["train", str(tmp_path / "images"), *words, "--out", str(tmp_path / "a.safetensors")]) == 2
    message = capsys.readouterr().err
    assert said in message and ("train on the text-to-image base" in message or "use a base that predicts" in message)
    assert not (tmp_path / "a.safetensors").exists()


@pytest.mark.parametrize("kind", ["sd1", "sdxl", "sd3", "flux"])
def test_the_others_pass(kind: str) -> None:
    check_trainable(families.build(kind))


def test_kandinsky_passes() -> None:
    for pipe in (kandinsky.kandinsky3(), kandinsky.prior(), kandinsky.decoder()):
        check_trainable(pipe)
