"""Latents as diffusers' own pipelines scale them, of every autoencoder but Kandinsky's.

They differ in what is done to a code before the denoiser sees it: a scale, with a shift (SD 3, FLUX) or with mean and
deviation of each channel; a patch of four as one place, normalised by figures of a batch norm (FLUX.2). One is of
videos, and an image is a video of one frame (Qwen-Image); one has no distribution (SANA).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from embhub.diffusion.families.pipeline import Pipeline


def encode(pipe: Pipeline, images: Tensor) -> Tensor:
    """Latents (B, C, h, w), float32, of images (B, 3, H, W) in [-1, 1]: the mode, so that nothing is drawn.

    The inverse of what a pipeline does before it decodes.
    """
    with in_full_precision(pipe.vae):
        code = _encode(pipe.vae, images.to(pipe.vae.dtype)).float()
        if _normalises(pipe.vae):
            mean, deviation = _batch_norm(pipe.vae)
            return (F.pixel_unshuffle(code, 2) - mean) / deviation
    config = pipe.vae.config
    scale = float(config.get("scaling_factor") or 1.0)
    if _states_channels(config):
        return (code - _channels(config.latents_mean, code)) * scale / _channels(config.latents_std, code)
    return (code - float(config.get("shift_factor") or 0.0)) * scale


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
    if _normalises(autoencoder):
        mean, deviation = _batch_norm(autoencoder)
        return _decode(autoencoder, F.pixel_shuffle(latents * deviation + mean, 2))
    config = autoencoder.config
    latents = latents / float(config.get("scaling_factor") or 1.0)
    if _states_channels(config):
        latents = latents * _channels(config.latents_std, latents) + _channels(config.latents_mean, latents)
    else:
        latents = latents + float(config.get("shift_factor") or 0.0)
    return _decode(autoencoder, latents)


def reconstruct(autoencoder: Any, images: Tensor) -> Tensor:
    """What the decoder makes of the codes of images (B, 3, H, W) themselves."""
    return _decode(autoencoder, _encode(autoencoder, images))


def _encode(autoencoder: Any, images: Tensor) -> Tensor:
    """The code of images, before it is scaled."""
    framed = _is_of_videos(autoencoder)
    found = autoencoder.encode(images.unsqueeze(2) if framed else images)
    code: Tensor = found.latent if hasattr(found, "latent") else found.latent_dist.mode()
    return code.squeeze(2) if framed else code


def _decode(autoencoder: Any, code: Tensor) -> Tensor:
    framed = _is_of_videos(autoencoder)
    images: Tensor = autoencoder.decode(code.unsqueeze(2) if framed else code).sample
    return images.squeeze(2) if framed else images


def _is_of_videos(autoencoder: Any) -> bool:
    return "temperal_downsample" in autoencoder.config


def _normalises(autoencoder: Any) -> bool:
    return "batch_norm_eps" in autoencoder.config


def _batch_norm(autoencoder: Any) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each channel of packed latents."""
    mean, variance = (part.view(1, -1, 1, 1) for part in (autoencoder.bn.running_mean, autoencoder.bn.running_var))
    return mean.float(), torch.sqrt(variance.float() + autoencoder.config.batch_norm_eps)


def _states_channels(config: Any) -> bool:
    return config.get("latents_mean") is not None and config.get("latents_std") is not None


def _channels(numbers: list[float], latents: Tensor) -> Tensor:
    return torch.tensor(numbers, device=latents.device).view(1, -1, 1, 1)
