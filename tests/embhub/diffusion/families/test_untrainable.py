"""Bases that load and draw, and on which no loss is defined here: refused in words, before anything is computed."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import EDMEulerScheduler, StableDiffusionInpaintPipeline, UNet2DConditionModel

from embhub.__main__ import main
from embhub.diffusion.bases.pipelines import load_pipeline, size_rule
from embhub.diffusion.bases.sizes import read_rule
from embhub.diffusion.families import check_trainable, resolution
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
def test_they_are_refused_with_a_hint(
    write: Any, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dataset(tmp_path / "images", "prostate-cspca", images=4, patients=4, normals=0, seed=0)
    words = ["--token", "<a>", "--caption", "mri, {}", "--base", str(write(tmp_path / "base")), "--device", "cpu"]
    assert main(["train", str(tmp_path / "images"), *words, "--out", str(tmp_path / "a.safetensors")]) == 3
    message = capsys.readouterr().err
    assert said in message and ("train on the text-to-image base" in message or "use a base that predicts" in message)
    assert not (tmp_path / "a.safetensors").exists()


def test_a_base_that_states_no_size_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`sample_size` is the only word for it. Before, this ended in an unexpected TypeError."""
    base = stripped(pipelines.write(tmp_path / "base"), "unet")
    write_dataset(tmp_path / "images", "prostate-cspca", images=4, patients=4, normals=0, seed=0)
    words = ["--token", "<a>", "--caption", "mri, {}", "--base", str(base), "--device", "cpu"]
    assert main(["train", str(tmp_path / "images"), *words, "--out", str(tmp_path / "a.safetensors")]) == 3
    assert main(["generate", "mri", "--base", str(base), "--device", "cpu", "--out", str(tmp_path / "drawn")]) == 3
    message = capsys.readouterr().err
    assert message.count("does not state one `sample_size`") == 2 and "unet/config.json" in message
    assert main(["generate", "mri", "--base", str(base), "--resolution", "32", "--out", str(tmp_path / "drawn")]) == 3


def test_a_decoder_of_kandinsky22_that_states_no_size_draws_as_its_own_call_does(tmp_path: Path) -> None:
    base = stripped(kandinsky.write_decoder(tmp_path / "base"), "unet")
    pipe = load_pipeline(base, device="cpu")
    drawn = inspect.signature(type(pipe).__call__).parameters["height"].default
    rule = read_rule(base)
    assert rule is not None and resolution(pipe) == size_rule(pipe).own == rule.own == drawn == 512


def stripped(base: Path, part: str) -> Path:
    """A base without `sample_size` in a part's configuration."""
    path = base / part / "config.json"
    path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != "sample_size"}))
    return base


@pytest.mark.parametrize("kind", ["sd1", "sdxl", "sd3", "flux", *families.NEWER])
def test_the_others_pass(kind: str) -> None:
    check_trainable(families.build(kind))


def test_kandinsky_passes() -> None:
    for pipe in (kandinsky.kandinsky3(), kandinsky.prior(), kandinsky.decoder()):
        check_trainable(pipe)
