"""The noise of rectified flows against diffusers' own scheduler, and the definitions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler

from embhub.diffusion.families import (
    add_noise,
    detect,
    is_flow,
    loss,
    min_snr_weights,
    noise_levels,
    predict_noise,
    prediction_type,
    strengths,
    take_noise,
)
from embhub.diffusion.training.inversion import encode_images
from tests.support import families
from tests.support.quick import quick

NEWER = quick(["sana", "zimage", "qwen-image"], thorough=["klein", "sd35"])


@pytest.fixture(scope="module", params=["sd3", "flux", "flux-schnell", *NEWER])
def pipe(request: pytest.FixtureRequest) -> Any:
    return families.build(request.param)


@pytest.mark.parametrize("choices", [{"shift": 1.0}, {"shift": 3.0}, {"shift": 3.0, "use_dynamic_shifting": True}])
def test_noise_is_that_of_the_scheduler(choices: dict[str, Any]) -> None:
    pipe = families.build("sd3")
    pipe.scheduler = FlowMatchEulerDiscreteScheduler(**choices)
    steps = torch.arange(1000)
    _, share = strengths(pipe, steps)
    # The scheduler's own table, from noise to none; sampling overwrites it, so it is not read.
    torch.testing.assert_close(share, pipe.scheduler.sigmas.flip(0), rtol=1e-5, atol=1e-6)
    pipe.scheduler.set_timesteps(4, mu=0.5 if "use_dynamic_shifting" in choices else None)
    assert torch.equal(strengths(pipe, steps)[1], share)


def shape(pipe: Any) -> torch.Size:
    """Of an image's latents."""
    return encode_images(pipe, torch.zeros(1, 3, 32, 32)).shape[1:]


def test_a_shift_towards_the_last_step_is_one_of_sampling() -> None:
    """Qwen-Image's scheduler stretches the steps of a drawing so that the last is at 0.02; training knows all noise."""
    pipe = families.build("qwen-image")
    assert pipe.scheduler.config.shift_terminal == 0.02
    pipe.scheduler.set_timesteps(4, mu=0.5)
    assert float(pipe.scheduler.sigmas[-2]) == pytest.approx(0.02)
    torch.testing.assert_close(strengths(pipe, torch.arange(1000))[1], torch.arange(1, 1001) / 1000)


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_a_flow_by_dpm_solver_has_its_own_word_for_the_shift(shift: float) -> None:
    """SANA's: the same share of noise as its sampler has at the times that it tells its denoiser."""
    pipe = families.build("sana")
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config, flow_shift=shift)
    pipe.scheduler.set_timesteps(999)
    assert is_flow(pipe) and prediction_type(pipe) == "flow"
    _, share = strengths(pipe, torch.arange(1000))
    sampled = pipe.scheduler.sigmas[:-1].float()
    # 999 steps from noise to the last, of 1000 levels: level by level, but for rounding of the grid
    torch.testing.assert_close(sampled, share.flip(0)[:999], atol=4e-3, rtol=0)
    torch.testing.assert_close(pipe.scheduler.timesteps.float(), 1000 * sampled, atol=1.0, rtol=0)


def test_noise_is_laid_on_and_taken_off(pipe: Any) -> None:
    assert prediction_type(pipe) == "flow" and noise_levels(pipe) == 1000
    latents, noise, times = torch.randn(3, 4, 8, 8), torch.randn(3, 4, 8, 8), torch.tensor([0, 300, 900])
    share = strengths(pipe, times)[1].view(3, 1, 1, 1)
    noisy = add_noise(pipe, latents, noise, times)
    torch.testing.assert_close(noisy, (1 - share) * latents + share * noise)
    torch.testing.assert_close(take_noise(pipe, noisy, noise, times), latents, rtol=1e-4, atol=1e-4)
    assert torch.equal(min_snr_weights(pipe, times, 5.0), torch.ones(3))


def test_the_loss_is_that_of_the_velocity(pipe: Any) -> None:
    """Noise less latents is what the denoiser is to say; told the pipeline's own way, 1000 sigma (FLUX divides)."""
    family, times = detect(pipe), torch.tensor([10, 700])
    latents, noise = torch.randn(2, *shape(pipe)), torch.randn(2, *shape(pipe))
    with torch.no_grad():
        condition = {name: part.expand(2, *part.shape[1:]) for name, part in family.condition(pipe, ["mri"]).items()}
        noisy = add_noise(pipe, latents, noise, times)
        said = family.predict(pipe, noisy, 1000 * strengths(pipe, times)[1], condition)
        found = loss(pipe, family, latents, condition, noise, times)
        seen = predict_noise(pipe, noisy, condition, times)
    assert said.shape == latents.shape
    torch.testing.assert_close(found, (said - (noise - latents)).square().mean((1, 2, 3)), rtol=1e-4, atol=1e-5)
    signal = strengths(pipe, times)[0].view(2, 1, 1, 1)
    torch.testing.assert_close(seen - noise, signal * (said - (noise - latents)), rtol=1e-3, atol=1e-4)


def test_a_step_of_the_stock_sampler_is_the_noise_that_attacks_see(pipe: Any) -> None:
    """One Euler step of the pipeline's scheduler, from our noise at one time to our noise at another."""
    family, (late, soon) = detect(pipe), torch.tensor([700, 300])
    latents = torch.randn(1, *shape(pipe))
    with torch.no_grad():
        condition = family.condition(pipe, ["mri"])
        share = strengths(pipe, torch.stack([late, soon]))[1]
        velocity = family.predict(pipe, latents, 1000 * share[:1], condition)
        noise = predict_noise(pipe, latents, condition, late[None])
    moved = add_noise(pipe, take_noise(pipe, latents, noise, late[None]), noise, soon[None])
    torch.testing.assert_close(moved, latents + (share[1] - share[0]) * velocity, rtol=1e-3, atol=1e-3)
