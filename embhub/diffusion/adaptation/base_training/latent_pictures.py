"""The autoencoder of the bases: AutoencoderKL, eight latent channels at an eighth of the side.

After training, the latents are whitened (mean 0, unit covariance over training images) by an affine map folded into
`quant_conv`, its inverse into `post_quant_conv`: the diffusion model sees isotropic data, and stock diffusers needs no
scaling factor.
"""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL
from torch import Tensor

CHANNELS, FACTOR, SIDE = 8, 8, 128


def build(seed: int, widths: tuple[int, ...] = (32, 48, 64, 96)) -> AutoencoderKL:
    """An untrained autoencoder of images (N, 3, 128, 128) in [-1, 1] to latents (N, 8, 16, 16)."""
    torch.manual_seed(seed)
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * len(widths),
        up_block_types=("UpDecoderBlock2D",) * len(widths),
        block_out_channels=widths,
        layers_per_block=1,
        latent_channels=CHANNELS,
        norm_num_groups=8,
        sample_size=SIDE,
        mid_block_add_attention=False,
        scaling_factor=1.0,
    )


def latents_of(model: AutoencoderKL, images: Tensor) -> Tensor:
    """Latent means (N, 8, 16, 16), with their gradient."""
    means: Tensor = model.quant_conv(model.encoder(images))[:, :CHANNELS]
    return means


def pictures_of(model: AutoencoderKL, latents: Tensor) -> Tensor:
    """Images (N, 3, 128, 128), not cut off at -1 and 1, with their gradient."""
    images: Tensor = model.decoder(model.post_quant_conv(latents))
    return images


@torch.no_grad()
def encode(model: AutoencoderKL, images: Tensor, at_once: int = 32) -> Tensor:
    """Latent means of many images, on the model's device, returned on the processor."""
    parts = (latents_of(model, part.to(model.device)).float().cpu() for part in torch.split(images, at_once))
    return torch.cat(list(parts))


@torch.no_grad()
def decode(model: AutoencoderKL, latents: Tensor, at_once: int = 32) -> Tensor:
    """Images (N, 3, 128, 128) in [-1, 1] of many latents, returned on the processor."""
    parts = (pictures_of(model, part.to(model.device)).clamp(-1, 1).float() for part in torch.split(latents, at_once))
    return torch.cat([part.cpu() for part in parts])


def rebuilt(model: AutoencoderKL, images: Tensor) -> Tensor:
    """Images after encoding and decoding, (N, 3, H, W) in [-1, 1]."""
    return decode(model, encode(model, images))


@torch.no_grad()
def whiten(model: AutoencoderKL, images: Tensor) -> None:
    """Fold a whitening of the latents over `images` (N, 3, 128, 128) into the convolutions round them, in place."""
    flat = encode(model, images).permute(1, 0, 2, 3).reshape(CHANNELS, -1).double()
    mean = flat.mean(1)
    values, vectors = torch.linalg.eigh(torch.cov(flat))
    values = values + 1e-4
    into, back = (vectors * values.rsqrt()) @ vectors.T, (vectors * values.sqrt()) @ vectors.T
    quant, post = model.quant_conv, model.post_quant_conv
    before = quant.weight[:CHANNELS].reshape(CHANNELS, -1).double().cpu()
    quant.weight[:CHANNELS] = (into @ before).to(quant.weight).view_as(quant.weight[:CHANNELS])
    quant.bias[:CHANNELS] = (into @ (quant.bias[:CHANNELS].double().cpu() - mean)).to(quant.bias)
    quant.weight[CHANNELS:] = 0
    quant.bias[CHANNELS:] = -12  # log variance: the encoder is as good as deterministic
    after = post.weight.reshape(CHANNELS, CHANNELS).double().cpu()
    post.bias += (after @ mean).to(post.bias)
    post.weight.copy_((after @ back).to(post.weight).view_as(post.weight))
