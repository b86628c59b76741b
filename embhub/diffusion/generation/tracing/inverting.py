"""From an image back to the noise that it was generated from: the sampler's path, walked the other way.

DDIM inversion (Song et al. 2021, arXiv 2010.02502), and its like for flows, without a prompt and without guidance:
nobody who finds an image knows them.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from embhub.diffusion.families import detect, schedule
from embhub.diffusion.families.pipeline import Pipeline

STEPS = 10
_AT_ONCE = 8


def invert(pipe: Pipeline, images: Tensor, *, steps: int = STEPS) -> Tensor:
    """Noise (B, C, h, w) in float32 of images (B, 3, side, side) in [-1, 1]; a few are computed at a time."""
    return torch.cat([_invert(pipe, part, steps) for part in torch.split(images, _AT_ONCE)])


@torch.no_grad()
def _invert(pipe: Pipeline, images: Tensor, steps: int) -> Tensor:
    family = detect(pipe)
    latents = family.latents(pipe, images.to(pipe.device))
    condition = {
        name: part.expand(len(latents), *part.shape[1:]) for name, part in family.condition(pipe, [""]).items()
    }
    last = schedule.noise_levels(pipe) - 1
    times = torch.linspace(0, last, steps + 1, device=latents.device).round().long()
    for now, then in pairwise(times):
        at, after = now.expand(len(latents)), then.expand(len(latents))
        clean, noise = _split(pipe, latents, family.predict(pipe, latents, schedule.told(pipe, at), condition), at)
        signal, strength = (schedule.like(part, latents) for part in schedule.strengths(pipe, after))
        latents = signal * clean + strength * noise
    return latents.float()


def _split(pipe: Pipeline, noisy: Tensor, predicted: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
    """What the denoiser takes for the clean latents and for the noise."""
    kind, predicted = schedule.prediction_type(pipe), predicted.to(noisy.dtype)
    signal, strength = (schedule.like(part, noisy) for part in schedule.strengths(pipe, times))
    if kind == "v_prediction":
        return signal * noisy - strength * predicted, strength * noisy + signal * predicted
    if kind == "flow":
        return noisy - strength * predicted, noisy + signal * predicted
    if kind == "sample":
        return predicted, (noisy - signal * predicted) / strength.clamp(min=1e-6)
    return (noisy - strength * predicted) / signal.clamp(min=1e-6), predicted
