"""Latents as diffusers' own pipelines scale them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from embhub.diffusion.families.pipeline import Pipeline


def encode(pipe: Pipeline, images: Tensor) -> Tensor:
    """Latents (B, C, h, w), float32, of images (B, 3, H, W) in [-1, 1]: the mode, so that nothing is drawn.

    The inverse of what a pipeline does before it decodes: some autoencoders state a shift, or mean and deviation of
    each channel.
    """
    with in_full_precision(pipe.vae):
        latents: Tensor = pipe.vae.encode(images.to(pipe.vae.dtype)).latent_dist.mode().float()
    config = pipe.vae.config
    scale = float(config.scaling_factor)
    if getattr(config, "latents_mean", None) is not None and getattr(config, "latents_std", None) is not None:
        return (latents - _channels(config.latents_mean, latents)) * scale / _channels(config.latents_std, latents)
    return (latents - float(getattr(config, "shift_factor", None) or 0.0)) * scale


@contextmanager
def in_full_precision(autoencoder: Any) -> Iterator[None]:
    """The autoencoder in float32 while open: bfloat16 has 8 bits for what a latent is made of, and latents are made
    once. Weights that were read in bfloat16 come back as they were."""
    before = autoencoder.dtype
    if before == torch.float32:
        yield
        return
    autoencoder.to(torch.float32)
    try:
        yield
    finally:
        autoencoder.to(before)


def decode(autoencoder: Any, latents: Tensor) -> Tensor:
    """The inverse: images (B, 3, H, W) of latents, as diffusers' own pipelines decode them; with gradients."""
    config, latents = autoencoder.config, latents / float(autoencoder.config.scaling_factor)
    if getattr(config, "latents_mean", None) is not None and getattr(config, "latents_std", None) is not None:
        latents = latents * _channels(config.latents_std, latents) + _channels(config.latents_mean, latents)
    else:
        latents = latents + float(getattr(config, "shift_factor", None) or 0.0)
    images: Tensor = autoencoder.decode(latents).sample
    return images


def _channels(numbers: list[float], latents: Tensor) -> Tensor:
    return torch.tensor(numbers, device=latents.device).view(1, -1, 1, 1)
