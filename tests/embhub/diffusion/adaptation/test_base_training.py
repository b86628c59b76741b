"""`embhub base train`: a pipeline that stock diffusers loads, whom it saw, and how an interrupted training goes on."""

from __future__ import annotations

import csv
import json
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from embhub import durable
from embhub.__main__ import main
from embhub.diffusion.adaptation.base_training import denoising, from_images, rebuilding, running, workbench
from embhub.diffusion.adaptation.base_training.from_images import FEWEST, train_base
from embhub.diffusion.adaptation.base_training.material import TrainingImages
from embhub.errors import ConfigError, UsageError
from embhub.images import seen

HEAD, SOURCE = "stripes", "made-up stripes, CC0"
SHORT = 0.001
"""Hours."""


@pytest.fixture(scope="module")
def stripes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """130 images of 65 patients, with a manifest."""
    folder, rng = tmp_path_factory.mktemp("stripes"), np.random.default_rng(0)
    steps = np.linspace(-1, 1, 64)
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "patient_id", "caption"))
        for number in range(130):
            across, down = rng.uniform(0, 12, 2)
            grey = (np.sin(across * steps + down * steps[:, None]) + 1) * 127
            Image.fromarray(grey.astype(np.uint8)).save(folder / f"{number}.png")
            writer.writerow((f"{number}.png", f"person-{number // 2}", "fine" if across > 6 else "wide"))
    return folder


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few images to whiten over, short measurements."""
    for course in (denoising.Denoising, rebuilding.Rebuilding):
        monkeypatch.setattr(course, "measure_every", 2)
    monkeypatch.setattr(workbench, "_WHITENED_OVER", 16)


@pytest.mark.thorough
def test_a_base_is_trained_from_public_images_and_goes_on(stripes: Path, tmp_path: Path) -> None:
    def train(*, resume: bool = False) -> Path:
        done = train_base(
            stripes, tmp_path / "base", manifest=stripes / "manifest.csv", head=HEAD, source=SOURCE, hours=SHORT,
            resume=resume,
        )  # fmt: skip
        assert done.images + done.held_out == 130 and 0 < done.held_out < 40
        assert 40 < done.patients < 65
        return done.out

    folder = train()
    pipe = StableDiffusionPipeline.from_pretrained(str(folder), torch_dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    drawn = pipe(f"{HEAD}, fine", num_inference_steps=2, output_type="np").images
    assert drawn.shape == (1, 128, 128, 3) and np.isfinite(drawn).all()
    found = seen.read(folder)
    assert found is not None
    assert (len(found.sketches), len(found.patients)) == (130, 65)
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert SOURCE in card and "130 images of 65 patients" in card and "does not cover its base" in card
    facts = json.loads((folder / "base.json").read_text(encoding="utf-8"))
    kept = facts["figures"]["autoencoder"]
    assert facts["prompts"] == {HEAD: HEAD} and 0 < kept["n"] < 40
    assert f"PSNR {kept['psnr_db']} dB, SSIM {kept['ssim']}." in card and 0 < kept["ssim"] < 1 and kept["psnr_db"] > 0
    before = running.read_progress(tmp_path / "base/training/denoiser")
    with pytest.raises(UsageError, match="holds a training"):
        train()
    train(resume=True)
    after = running.read_progress(tmp_path / "base/training/denoiser")
    assert before is not None and after is not None
    assert after.step > before.step and after.sessions == before.sessions + 1


def test_an_interrupt_ends_the_command_before_the_next_stage(
    stripes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    advance = rebuilding.Rebuilding.advance

    def interrupted(self: rebuilding.Rebuilding, number: int) -> dict[str, float]:
        if number == 1:
            signal.raise_signal(signal.SIGINT)
        return advance(self, number)

    monkeypatch.setattr(rebuilding.Rebuilding, "advance", interrupted)
    out = tmp_path / "base"
    words = ["base", "train", str(stripes), "--head", HEAD, "--source", SOURCE, "--out", str(out), "--hours", "1"]
    assert main(words) == 130
    assert sorted(path.name for path in (out / "training").iterdir()) == ["autoencoder"]  # no latents were fixed
    said = capsys.readouterr().err
    assert "interrupted after step 2" in said and f"embhub base train {stripes}" in said and "--resume" in said


def test_one_training_at_a_time(stripes: Path, tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    with durable.alone(tmp_path / "base"), pytest.raises(ConfigError, match="another process"):
        train_base(stripes, tmp_path / "base", head=HEAD, source=SOURCE, hours=SHORT)


def test_nothing_to_go_on_with_is_refused(stripes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["base", "train", str(stripes), "--head", HEAD, "--source", SOURCE, "--out", str(tmp_path / "base")]
    assert main([*words, "--resume"]) == 2
    assert "holds no training" in capsys.readouterr().err
    assert not (tmp_path / "base/training").exists()


def test_the_list_of_whom_it_saw_stays_true(stripes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows kept for a test are held out, images that name nobody are refused, and others than at the start, too."""
    parts: list[TrainingImages] = []

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    def record(images: TrainingImages, held_out: list[bool], kind: bool) -> TrainingImages:
        parts.append(split_off(images, held_out, kind))
        return parts[-1]

    split_off = from_images._part
    monkeypatch.setattr(from_images, "_train", stop)
    monkeypatch.setattr(from_images, "_part", record)
    images = shutil.copytree(stripes, tmp_path / "images")
    rows = (images / "manifest.csv").read_text().splitlines()
    kept = ["person-1,", "person-2,"]
    split = [f"{row},{'holdout' if any(name in row for name in kept) else 'train'}" for row in rows[1:]]
    (images / "manifest.csv").write_text("\n".join([f"{rows[0]},split", *split]) + "\n")
    words: dict[str, Any] = {"head": HEAD, "source": SOURCE, "hours": SHORT}
    with pytest.raises(KeyboardInterrupt):
        train_base(images, tmp_path / "base", **words)
    taught, apart = parts
    assert {"person-1", "person-2"} <= set(apart.patients) and not set(apart.patients) & set(taught.patients)
    with pytest.raises(KeyboardInterrupt):
        train_base(images, tmp_path / "base", resume=True, **words)
    for other in ({"seed": 1}, {"head": "another stripe pattern"}):
        with pytest.raises(UsageError, match="not the images, captions, --head and --seed"):
            train_base(images, tmp_path / "base", resume=True, **{**words, **other})
    (images / "manifest.csv").write_text("\n".join([f"{rows[0]},split", *split[:-1]]) + "\n")
    with pytest.raises(UsageError, match="not the images, captions, --head and --seed"):
        train_base(images, tmp_path / "base", resume=True, **words)
    (images / "manifest.csv").unlink()
    with pytest.raises(UsageError, match="not every image names its patient"):
        train_base(images, tmp_path / "other", **words)
    with pytest.raises(UsageError, match="a base cannot be called"):
        train_base(images, tmp_path / "breast base", **words)


def test_no_base_lies_there_without_the_list_of_whom_it_saw(
    stripes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Private training refuses these people by the list alone: an interruption before it is written leaves no base."""

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    def export(_: object, folder: Path) -> Path:
        folder.mkdir()
        return folder

    monkeypatch.setattr(from_images, "_train", lambda *_: None)
    monkeypatch.setattr(workbench.Workbench, "export", export)
    monkeypatch.setattr(from_images, "load_pipeline", stop)
    with pytest.raises(KeyboardInterrupt):
        train_base(stripes, tmp_path / "base", head=HEAD, source=SOURCE, hours=SHORT)
    assert not (tmp_path / "base/pipeline").exists()


def test_too_few_images_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for number in range(20):
        Image.new("L", (64, 64), number * 10).save(images / f"{number}.png")
    words = ["base", "train", str(images), "--head", HEAD, "--source", SOURCE, "--out", str(tmp_path / "base")]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert f"at least {FEWEST}" in said and "no patient ids" in said  # what was seen of the images, too
