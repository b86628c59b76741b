"""How much noise there is at a time, for schedules of diffusion and for flows; all of it from the configuration, since
sampling overwrites what a scheduler holds.

Times are whole numbers from 0 (hardly any noise) to `noise_levels` - 1. At each, latents are `signal` times the clean
ones plus `noise` times noise. A rectified flow has signal 1 - s and noise s (Liu et al. 2022, arXiv 2209.03003; Esser
et al. 2024, arXiv 2403.03206), with the scheduler's own shift of s.
"""

from __future__ import annotations

import torch
from torch import Tensor

from embhub.artifact.fingerprint import BadBaseError
from embhub.diffusion.families.pipeline import Pipeline

_FLOW_UNIT = 1000.0
"""What a pipeline multiplies a flow's share of noise with before it tells its denoiser."""


def noise_levels(pipe: Pipeline) -> int:
    """Number of timesteps of the noise schedule."""
    return int(pipe.scheduler.config.num_train_timesteps)


def prediction_type(pipe: Pipeline) -> str:
    """`epsilon`, `v_prediction` or `sample`, as the pipeline's scheduler has it, or `flow`.

    Raises:
        BadBaseError: the scheduler's prediction type is none of the four.
    """
    if is_flow(pipe):
        return "flow"
    kind = str(getattr(pipe.scheduler.config, "prediction_type", ""))
    if kind not in ("epsilon", "v_prediction", "sample") or not hasattr(pipe.scheduler, "alphas_cumprod"):
        raise BadBaseError(
            f"a {type(pipe.scheduler).__name__} of prediction type {kind or 'unknown'} is not supported",
            "use a base that predicts noise, v, the sample or a flow",
        )
    return kind


def is_flow(pipe: Pipeline) -> bool:
    """Is the base a rectified flow?"""
    stated = pipe.scheduler.config.get("prediction_type")
    return type(pipe.scheduler).__name__.startswith("FlowMatch") or stated == "flow_prediction"


def strengths(pipe: Pipeline, timesteps: Tensor) -> tuple[Tensor, Tensor]:
    """Signal and noise at timesteps (B,), float32 of the same shape."""
    if is_flow(pipe):
        share = _flow_share(pipe, timesteps)
        return 1 - share, share
    alphas: Tensor = pipe.scheduler.alphas_cumprod
    alpha = alphas.to(device=timesteps.device, dtype=torch.float32)[timesteps]
    return alpha.sqrt(), (1 - alpha).sqrt()


def told(pipe: Pipeline, timesteps: Tensor) -> Tensor:
    """Timesteps (B,) as the pipeline tells them to its denoiser."""
    return _flow_share(pipe, timesteps) * _FLOW_UNIT if is_flow(pipe) else timesteps


def add_noise(pipe: Pipeline, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
    """Latents (B, C, h, w) with noise of the schedule's strength at timesteps (B,)."""
    signal, strength = (like(part, latents) for part in strengths(pipe, timesteps))
    return signal * latents + strength * noise


def take_noise(pipe: Pipeline, noisy: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
    """The inverse of `add_noise`: the latents that had this noise laid on them."""
    signal, strength = (like(part, noisy) for part in strengths(pipe, timesteps))
    return (noisy - strength * noise) / signal.clamp(min=1e-6)


def min_snr_weights(pipe: Pipeline, timesteps: Tensor, gamma: float) -> Tensor:
    """Weights of timesteps, (B,), that even out their difficulty (Hang et al. 2023, arXiv 2303.09556).

    All 1 for a flow: what it predicts is of one size at every time.
    """
    kind = prediction_type(pipe)
    if kind == "flow":
        return torch.ones(len(timesteps), device=timesteps.device)
    signal, strength = strengths(pipe, timesteps)
    ratio = (signal / strength).square()
    divisor = {"epsilon": ratio, "v_prediction": ratio + 1, "sample": torch.ones_like(ratio)}[kind]
    # A schedule with zero terminal signal has ratio 0, where min(ratio, gamma) / ratio tends to 1.
    return torch.where(divisor > 0, ratio.clamp(max=gamma) / divisor.clamp(min=1e-12), torch.ones_like(ratio))


def like(strength: Tensor, latents: Tensor) -> Tensor:
    """(B,) in as many dimensions as latents have, to multiply them with."""
    return strength.view(-1, *[1] * (latents.ndim - 1))


def _flow_share(pipe: Pipeline, timesteps: Tensor) -> Tensor:
    """Share of noise at timesteps, as diffusers' FlowMatchEulerDiscreteScheduler lays it out for training.

    A shift that depends on the size of the image is one of sampling, and so is one towards a last step
    (`shift_terminal`): there are none of them here, as in diffusers' own training scripts.
    """
    config = pipe.scheduler.config
    share = (timesteps.float() + 1) / int(config.num_train_timesteps)
    if getattr(config, "use_dynamic_shifting", False):
        return share
    shift = float(config.get("flow_shift") or config.get("shift") or 1.0)  # DPM-Solver calls it otherwise
    return shift * share / (1 + (shift - 1) * share)
