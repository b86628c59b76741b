"""Latents as diffusers' own pipelines scale them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def encode(pipe: Any, images: Tensor) -> Tensor:
    """Latents (B, C, h, w), float32, of images (B, 3, H, W) in [-1, 1]: the mode, so that nothing is drawn.

    The inverse of what a pipeline does before it decodes: some autoencoders state a shift, or mean and deviation of
    each channel.
    """
    latents: Tensor = pipe.vae.encode(images.to(pipe.vae.dtype)).latent_dist.mode().float()
    config = pipe.vae.config
    scale = float(config.scaling_factor)
    if getattr(config, "latents_mean", None) is not None and getattr(config, "latents_std", None) is not None:
        return (latents - _channels(config.latents_mean, latents)) * scale / _channels(config.latents_std, latents)
    return (latents - float(getattr(config, "shift_factor", None) or 0.0)) * scale


def _channels(numbers: list[float], latents: Tensor) -> Tensor:
    return torch.tensor(numbers, device=latents.device).view(1, -1, 1, 1)
