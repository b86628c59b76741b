"""The noise of rectified flows against diffusers' own scheduler, and the definitions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from embhub.diffusion.families import (
    add_noise,
    detect,
    loss,
    min_snr_weights,
    noise_levels,
    predict_noise,
    prediction_type,
    strengths,
    take_noise,
)
from tests.support import families


@pytest.fixture(scope="module", params=["sd3", "flux", "flux-schnell"])
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
    latents, noise = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)
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
    latents = torch.randn(1, 4, 8, 8)
    with torch.no_grad():
        condition = family.condition(pipe, ["mri"])
        share = strengths(pipe, torch.stack([late, soon]))[1]
        velocity = family.predict(pipe, latents, 1000 * share[:1], condition)
        noise = predict_noise(pipe, latents, condition, late[None])
    moved = add_noise(pipe, take_noise(pipe, latents, noise, late[None]), noise, soon[None])
    torch.testing.assert_close(moved, latents + (share[1] - share[0]) * velocity, rtol=1e-3, atol=1e-3)
