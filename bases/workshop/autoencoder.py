"""The autoencoder of a base: AutoencoderKL, four latent channels at a quarter of the side, latents whitened.

The loss is L1 + L2 + gradients, weighted towards findings. Noise on the latents keeps the decoder smooth, and where
detail can be spared half of the steps decode latents at half their size, so that latents change with an image as the
image does: a small denoiser learns such latents sooner (scale equivariance, Kouzelis et al. 2025, arXiv 2502.09509).
Afterwards the latents are whitened (mean 0, unit covariance over the training images) by an affine map folded into
`quant_conv`, and its inverse into `post_quant_conv`, so that the diffusion model sees isotropic data with no scaling
factor and stock diffusers needs to know nothing of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional as F

CHANNELS = 4
_PEAK = 2e-3


def build() -> AutoencoderKL:
    """An untrained autoencoder, 1.2 M parameters, images (N, 3, 64, 64) in [-1, 1] to latents (N, 4, 16, 16)."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(32, 64, 80),
        layers_per_block=1,
        latent_channels=CHANNELS,
        norm_num_groups=8,
        sample_size=64,
        mid_block_add_attention=False,
        scaling_factor=1.0,
    )


def learning_rate(step: int, steps: int) -> float:
    """Warm-up over 30 steps, then half a cosine to nearly nothing."""
    return _PEAK * min(1.0, (step + 1) / 30) * (0.5 + 0.5 * math.cos(math.pi * step / steps)) + 1e-5


def train(
    model: AutoencoderKL,
    optimizer: torch.optim.Optimizer,
    batch: Callable[[int], tuple[Tensor, Tensor]],
    *,
    start: int,
    steps: int,
    seed: int,
    on_step: Callable[[int, dict[str, float]], None],
    smooth: bool = False,
) -> None:
    """Train from step `start` up to `steps`.

    `batch(step)` gives images (B, 3, H, W) in [-1, 1] and weights (B, 1, H, W), 1 or more. `smooth` trades detail for
    latents that are easy to denoise. All randomness of a step
    comes from `seed` and its number, so a resumed run is the uninterrupted one.
    """
    model.train()
    for step in range(start, steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps)
        images, weights = batch(step)
        noise = torch.Generator().manual_seed(seed * 1_000_003 + step)
        with torch.autocast("cpu", torch.bfloat16):
            latents = model.quant_conv(model.encoder(images)).float()[:, :CHANNELS]
            blurred = latents + _blur(latents, smooth) * torch.randn(latents.shape, generator=noise)
            if smooth and step % 2:
                blurred, images, weights = (F.avg_pool2d(part, 2) for part in (blurred, images, weights))
            drawn = model.decoder(model.post_quant_conv(blurred))
        error = drawn.float() - images
        loss = (weights * error.abs()).mean() + 2 * (weights * error.square()).mean() + 1e-3 * latents.square().mean()
        loss = loss + 0.5 * (error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            on_step(step + 1, {"loss": loss.item(), "psnr": psnr(drawn.float(), images)})
    model.eval()


def _blur(latents: Tensor, smooth: bool) -> Tensor | float:
    """How much noise goes on latents (B, 4, h, w): a fixed little, or a quarter of each channel's deviation."""
    return 0.25 * latents.detach().std((0, 2, 3), keepdim=True) if smooth else 0.05


def psnr(drawn: Tensor, images: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of images in [-1, 1]."""
    return float(10 * torch.log10(4 / F.mse_loss(drawn.clamp(-1, 1), images)))


@torch.no_grad()
def encode(model: AutoencoderKL, images: Tensor) -> Tensor:
    """Latent means (N, 4, h, w) of uint8 images (N, H, W, 3)."""
    parts = (part.permute(0, 3, 1, 2).float() / 127.5 - 1 for part in torch.split(images, 100))
    return torch.cat([model.encode(part).latent_dist.mean for part in parts])


@torch.no_grad()
def decode(model: AutoencoderKL, latents: Tensor) -> Tensor:
    """Images (N, 3, H, W) in [-1, 1] of latents."""
    return torch.cat([model.decode(part).sample.clamp(-1, 1) for part in torch.split(latents, 50)])


@torch.no_grad()
def whiten(model: AutoencoderKL, images: Tensor) -> None:
    """Fold a whitening of the latents over `images`, uint8 (N, H, W, 3), into the convolutions round them, in place."""
    flat = encode(model, images).permute(1, 0, 2, 3).reshape(CHANNELS, -1).double()
    mean = flat.mean(1)
    values, vectors = torch.linalg.eigh(torch.cov(flat))
    values = values + 1e-4
    into = (vectors * values.rsqrt()) @ vectors.T
    back = (vectors * values.sqrt()) @ vectors.T
    quant, post = model.quant_conv, model.post_quant_conv
    before = quant.weight[:CHANNELS].reshape(CHANNELS, -1).double()
    quant.weight[:CHANNELS] = (into @ before).to(quant.weight).view_as(quant.weight[:CHANNELS])
    quant.bias[:CHANNELS] = (into @ (quant.bias[:CHANNELS].double() - mean)).to(quant.bias)
    quant.weight[CHANNELS:] = 0
    quant.bias[CHANNELS:] = -12  # log variance: the encoder is as good as deterministic
    after = post.weight.reshape(CHANNELS, CHANNELS).double()
    post.bias += (after @ mean).to(post.bias)
    post.weight.copy_((after @ back).to(post.weight).view_as(post.weight))
