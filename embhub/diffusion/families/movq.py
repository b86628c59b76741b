"""Latents of the Kandinsky pipelines, whose autoencoder (MoVQ) has another place and another word for them."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from embhub.diffusion.families.pipeline import Pipeline


def encode(pipe: Pipeline, images: Tensor) -> Tensor:
    """Latents (B, 4, h, w), float32, of images (B, 3, H, W) in [-1, 1], before they are quantised.

    Not scaled: the pipelines decode what their denoiser leaves as it is (`force_not_quantize`), and the makers' own
    training scripts encode so, though the autoencoder's configuration states a scale.
    """
    latents: Tensor = pipe.movq.encode(images.to(pipe.movq.dtype)).latents
    return latents.float()


def decode(autoencoder: Any, latents: Tensor) -> Tensor:
    """The inverse: images (B, 3, H, W) of latents that are neither scaled nor quantised; with gradients."""
    images: Tensor = autoencoder.decode(latents, force_not_quantize=True).sample
    return images


def reconstruct(autoencoder: Any, images: Tensor) -> Tensor:
    """What the decoder makes of the latents of images (B, 3, H, W) themselves."""
    return decode(autoencoder, autoencoder.encode(images).latents)


def shrinkage(pipe: Pipeline) -> int:
    """How many pixels a latent is wide."""
    return int(2 ** (len(pipe.movq.config.block_out_channels) - 1))
