"""The shared loss against the definitions, and finding out what a pipeline is."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import CMStochasticIterativeScheduler, DDPMScheduler, EulerDiscreteScheduler

from embhub.artifact.fingerprint import BadBaseError
from embhub.diffusion.families import (
    detect,
    encoders,
    loss,
    min_snr_weights,
    noise_levels,
    prediction_type,
    resolution,
)
from embhub.errors import UsageError
from tests.support import pipelines


@pytest.fixture(params=["clip", "bert"])
def pipe(request: pytest.FixtureRequest) -> Any:
    return pipelines.build(encoder=request.param, prediction="v_prediction")


def test_what_a_pipeline_is(pipe: Any) -> None:
    assert detect(pipe).name == "sd"
    assert [(e.name, e.tokenizer_name, tuple(e.table.shape)) for e in encoders(pipe)] == [
        ("text_encoder", "tokenizer", (len(pipe.tokenizer), pipelines.WIDTH))
    ]
    assert (resolution(pipe), noise_levels(pipe), prediction_type(pipe)) == (32, 1000, "v_prediction")


def test_other_kinds_are_refused() -> None:
    class HiDreamImagePipeline:
        pass

    with pytest.raises(UsageError, match="no adapter for a HiDreamImagePipeline"):
        detect(HiDreamImagePipeline())  # type: ignore[arg-type]  # no pipeline at all


def test_latents_are_exact_and_scaled(pipe: Any) -> None:
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        latents = detect(pipe).latents(pipe, images)
        mean = pipe.vae.encode(images).latent_dist.mean
    assert torch.equal(latents, mean * pipe.vae.config.scaling_factor)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_loss_has_the_target_of_the_scheduler(kind: str) -> None:
    """diffusers' own `add_noise` and `get_velocity` say what a perfect prediction is."""
    pipe = pipelines.build()
    pipe.scheduler = DDPMScheduler.from_config(pipe.scheduler.config, prediction_type=kind)
    family = detect(pipe)
    latents, noise = torch.randn(3, 4, 8, 8), torch.randn(3, 4, 8, 8)
    times = torch.tensor([0, 500, 999])
    with torch.no_grad():
        condition = family.condition(pipe, ["lung"])
        noisy = pipe.scheduler.add_noise(latents, noise, times)
        velocity = pipe.scheduler.get_velocity(latents, noise, times)
        target = {"epsilon": noise, "v_prediction": velocity, "sample": latents}[kind]
        expected = (pipe.unet(noisy, times, condition["hidden"].expand(3, -1, -1)).sample - target).square()
        found = loss(pipe, family, latents, condition, noise, times)
    assert torch.allclose(found, expected.mean((1, 2, 3)), rtol=1e-4)


def test_a_condition_of_one_prompt_serves_a_batch(pipe: Any) -> None:
    family = detect(pipe)
    latents, noise, times = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8), torch.tensor([10, 900])
    with torch.no_grad():
        one = loss(pipe, family, latents, family.condition(pipe, ["lung"]), noise, times)
        two = loss(pipe, family, latents, family.condition(pipe, ["lung", "lung"]), noise, times)
        other = loss(pipe, family, latents, family.condition(pipe, ["heart"]), noise, times)
    assert torch.allclose(one, two)
    assert not torch.allclose(one, other, rtol=1e-7)


def test_min_snr_weights() -> None:
    """Hang et al. 2023: min(SNR, gamma) / SNR for noise, / (SNR + 1) for v."""
    pipe = pipelines.build()
    times = torch.arange(0, 1000, 37)
    alpha = pipe.scheduler.alphas_cumprod[times]
    ratio = alpha / (1 - alpha)
    assert torch.allclose(min_snr_weights(pipe, times, 5.0), ratio.clamp(max=5) / ratio)
    pipe.scheduler.register_to_config(prediction_type="v_prediction")
    assert torch.allclose(min_snr_weights(pipe, times, 5.0), ratio.clamp(max=5) / (ratio + 1))


def test_min_snr_weights_with_zero_terminal_signal() -> None:
    pipe = pipelines.build()
    pipe.scheduler = DDPMScheduler.from_config(pipe.scheduler.config, rescale_betas_zero_snr=True)
    weights = min_snr_weights(pipe, torch.tensor([999]), 5.0)
    assert torch.isfinite(weights).all()


def test_unsupported_schedulers_are_refused() -> None:
    pipe = pipelines.build()
    pipe.scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    assert prediction_type(pipe) == "epsilon"
    pipe.scheduler = CMStochasticIterativeScheduler()
    with pytest.raises(BadBaseError, match="not supported"):
        prediction_type(pipe)
