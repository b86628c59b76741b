"""The stages of a 128-pixel base on a handful of made-up images: exact resuming, fixed latents, what is exported."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from bases.workshop.facts import facts
from embhub.diffusion.adaptation.base_training import (
    denoising,
    latent_pictures,
    likeness,
    rebuilding,
    running,
    workbench,
)
from embhub.diffusion.adaptation.base_training.captions import Caption
from embhub.diffusion.adaptation.base_training.material import HeldOut, Material, Pool
from embhub.diffusion.adaptation.base_training.workbench import Workbench
from embhub.errors import UsageError


def stripes(count: int, generator: torch.Generator) -> Tensor:
    """Made-up pictures: waves of random length and direction."""
    steps = torch.linspace(-1, 1, 128)
    across, down = (torch.rand(count, 1, 1, generator=generator) * 12 for _ in range(2))
    return torch.sin(across * steps + down * steps[:, None])[:, None].expand(-1, 3, -1, -1).contiguous()


def material() -> Material:
    images, words = stripes(8, torch.Generator().manual_seed(1)), Caption("stripes,", ("left",))
    pool = Pool(8, lambda places: images[places], lambda _place, _rng: words, torch.ones(8))
    swapped = {"side": [Caption("right")] * 2}
    held_out = HeldOut(stripes(2, torch.Generator().manual_seed(2)), [words] * 2, swapped, times=(500,))
    return Material("builtin", stripes, lambda _number: pool, held_out, ["stripes, left right"] * 3, facts("builtin"))


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few images to whiten over, short measurements."""
    monkeypatch.setattr(denoising.Denoising, "measure_every", 2)
    monkeypatch.setattr(workbench, "_WHITENED_OVER", 16)


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)


def train(bench: Workbench, stage: str, steps: int) -> None:
    if stage == "denoiser":
        bench.train_denoiser(running.Limits(steps=steps), batch=2)
    else:
        bench.train_autoencoder(running.Limits(steps=steps), batch=1, crop=32, decoder_only=stage == "decoder")


@pytest.mark.thorough
@pytest.mark.exhaustive
def test_every_stage_resumes_bit_by_bit_and_the_pipeline_draws(tmp_path: Path) -> None:
    for stage in ("autoencoder", "denoiser", "decoder"):
        train(Workbench(material(), tmp_path / "whole"), stage, 4)
        train(Workbench(material(), tmp_path / "parts"), stage, 2)
        train(Workbench(material(), tmp_path / "parts"), stage, 4)
        states = [running.read_course(tmp_path / name / stage) for name in ("whole", "parts")]
        assert equal(*states), stage
    folder = Workbench(material(), tmp_path / "parts").export(tmp_path / "pipeline")
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 16e6
    told = json.loads((folder / "base.json").read_text(encoding="utf-8"))
    assert told["family"] == "sd" and told["resolution"] == 128
    assert told.keys() >= {"name", "licence", "attribution", "prompts", "left_out", "recommended", "figures"}
    pipe = StableDiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    drawn = pipe("stripes, left", num_inference_steps=2, output_type="np").images
    assert drawn.shape == (1, 128, 128, 3)
    assert np.isfinite(drawn).all()


@pytest.mark.thorough
def test_latents_are_fixed_with_the_first_step_of_the_denoiser(tmp_path: Path) -> None:
    bench = Workbench(material(), tmp_path)
    with pytest.raises(UsageError):
        train(bench, "denoiser", 1)
    train(bench, "autoencoder", 1)
    with pytest.raises(UsageError):
        train(bench, "decoder", 1)
    train(bench, "denoiser", 1)
    with pytest.raises(UsageError):
        train(bench, "autoencoder", 2)
    images = stripes(4, torch.Generator().manual_seed(3))
    before = latent_pictures.encode(bench.fixed_autoencoder(), images)
    train(bench, "decoder", 3)
    after = bench._autoencoder_to_show()
    assert torch.equal(latent_pictures.encode(after, images), before)
    assert not torch.equal(
        latent_pictures.decode(after, before), latent_pictures.decode(bench.fixed_autoencoder(), before)
    )


@pytest.mark.thorough
def test_the_autoencoder_that_is_fixed_is_the_best_one_not_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter((1.0, 2.0))
    monkeypatch.setattr(rebuilding.Rebuilding, "measure_every", 1)
    monkeypatch.setattr(rebuilding.Rebuilding, "measure", lambda _course: {"held_out_loss": next(losses)})
    bench = Workbench(material(), tmp_path)
    train(bench, "autoencoder", 2)
    state = running.read_course(tmp_path / "autoencoder")
    assert state is not None
    fixed = bench._averaged_autoencoder().state_dict()
    assert equal(dict(fixed), dict(state["best"]))
    last = state["averages"]["values"][0]
    assert not all(torch.equal(one, other) for one, other in zip(fixed.values(), last, strict=True))


@pytest.mark.thorough
def test_a_fresh_machine_begins_from_an_unfinished_autoencoder(tmp_path: Path) -> None:
    train(Workbench(material(), tmp_path / "first"), "autoencoder", 3)
    stage = Workbench(material(), tmp_path / "first").export(tmp_path / "stage")
    assert sum(path.stat().st_size for path in stage.iterdir()) < 5e6
    assert "Apache-2.0" in (stage / "base.json").read_text()
    second = Workbench(material(), tmp_path / "second")
    second.begin(stage)
    progress = running.read_progress(tmp_path / "second/autoencoder")
    assert progress is not None and progress.step == 3
    first_model, second_model = (
        Workbench(material(), tmp_path / name)._averaged_autoencoder() for name in ("first", "second")
    )
    for one, other in zip(first_model.parameters(), second_model.parameters(), strict=True):
        assert torch.allclose(one, other, atol=2e-3, rtol=1e-3)
    train(second, "autoencoder", 4)


@pytest.mark.thorough
def test_a_fresh_machine_begins_from_an_exported_pipeline(tmp_path: Path) -> None:
    first = Workbench(material(), tmp_path / "first")
    train(first, "autoencoder", 1)
    train(first, "denoiser", 2)
    stage = first.export(tmp_path / "stage")
    told = json.loads((stage / "progress.json").read_text())
    assert told["denoiser"]["step"] == 2
    second = Workbench(material(), tmp_path / "second")
    second.begin(stage)
    train(second, "denoiser", 3)
    progress = running.read_progress(tmp_path / "second/denoiser")
    assert progress is not None and progress.step == 3
    caption = [Caption("stripes,", ("left",))]
    assert torch.equal(first.encoder(caption), second.encoder(caption))


@pytest.mark.thorough
def test_whitened_latents_have_no_mean_unit_covariance_and_the_same_pictures() -> None:
    model, images = latent_pictures.build(0).eval(), stripes(8, torch.Generator().manual_seed(5))
    with torch.no_grad():
        model.quant_conv.weight.mul_(3)
    before = latent_pictures.rebuilt(model, images)
    latent_pictures.whiten(model, images)
    flat = latent_pictures.encode(model, images).permute(1, 0, 2, 3).flatten(1).double()
    assert flat.mean(1).abs().max() < 1e-2
    kept = torch.linalg.eigvalsh(torch.cov(flat))
    assert kept.max() < 1.05
    assert (latent_pictures.rebuilt(model, images) - before).abs().max() < 0.02


@pytest.mark.thorough
def test_a_decoder_learns_and_a_critic_tells_blurred_from_real() -> None:
    settings = rebuilding.Settings(batch=2, crop=32, critic=0.05, features=0.5, bands=0.1)
    course = rebuilding.Rebuilding(latent_pictures.build(0), stripes, stripes(2, torch.Generator()), settings)
    losses = [course.advance(step)["pixels"] for step in range(40)]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])


def test_power_falls_with_blur_and_bands_see_it() -> None:
    real = torch.randn(4, 1, 128, 128, generator=torch.Generator().manual_seed(0))
    blurred = torch.nn.functional.avg_pool2d(real, 3, 1, 1)
    ratios = list(likeness.power_ratios(blurred, real).values())
    assert all(earlier > later for earlier, later in pairwise(ratios[1:]))
    assert likeness.power_ratios(real, real) == dict.fromkeys(likeness.power_ratios(real, real), 1.0)
    assert likeness.band_loss(blurred, real) > likeness.band_loss(real * 0.99, real)


def test_what_an_autoencoder_loses_is_what_torchmetrics_says() -> None:
    real = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    shown = torch.nn.functional.avg_pool2d(real, 3, 1, 1)
    assert likeness.structural_similarity(real, real) == pytest.approx(1)
    grey = (shown + 1) / 2, (real + 1) / 2
    assert likeness.structural_similarity(shown, real) == pytest.approx(
        float(structural_similarity_index_measure(*grey, data_range=1.0))
    )
    assert likeness.decibels(shown, real) == pytest.approx(
        float(peak_signal_noise_ratio(*grey, data_range=1.0)), abs=1e-4
    )


def test_times_fill_every_stratum_and_a_share_is_noisy() -> None:
    spans = ((0, 1000, 0.75), (780, 1000, 0.25))
    times = denoising.draw_times(16, spans, torch.Generator().manual_seed(0))
    assert len(times) == 16
    assert sorted(int(time) * 12 // 1000 for time in times[:12]) == list(range(12))
    assert (times[12:] >= 780).all() and (times < 1000).all()
