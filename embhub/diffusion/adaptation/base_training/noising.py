"""Noise: the schedule of a base, and noisy latents with what a denoiser should predict for them."""

from __future__ import annotations

import torch
from diffusers import DDPMScheduler
from torch import Tensor


def noise_schedule(zero_terminal_snr: bool = False) -> DDPMScheduler:
    """Stable Diffusion's schedule, v-prediction, sampled from its noisiest step on.

    That step keeps 7 % of the signal's amplitude, so that the tone of what is sampled varies too little;
    `zero_terminal_snr` rescales the schedule to end at pure noise (Lin et al. 2023, arXiv 2305.08891).
    """
    return DDPMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        clip_sample=False,
        steps_offset=1,
        rescale_betas_zero_snr=zero_terminal_snr,
    )


def diffuse(latents: Tensor, times: Tensor, alphas: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Noisy latents at `times` and the v that a denoiser should predict for them."""
    noise = torch.randn(latents.shape, generator=generator)
    signal = alphas[times].view(-1, 1, 1, 1)
    noisy = signal.sqrt() * latents + (1 - signal).sqrt() * noise
    return noisy, signal.sqrt() * noise - (1 - signal).sqrt() * latents
