"""Copies made on purpose: what the check finds of them is its power, measured on this very site's images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

NOISE = 0.05
"""Standard deviation of the noise on a noisy copy, in half ranges."""
MOST = 20


def plant(pipe: Any, images: Tensor, *, seed: int = 0) -> dict[str, Tensor]:
    """Copies (N, 3, H, W) of each kind of images (N, 3, H, W) in [-1, 1]."""
    noise = NOISE * torch.randn(images.shape, generator=torch.Generator().manual_seed(seed))
    kinds: Mapping[str, Callable[[], Tensor]] = {
        "exact": lambda: images,
        "mirrored": lambda: images.flip(-1),
        "shifted by a pixel": lambda: images.roll((0, 1), (2, 3)),
        f"with noise of {NOISE:.0%}": lambda: (images + noise).clamp(-1, 1),
    }
    made = {name: _as_file(make()) for name, make in kinds.items()}
    if getattr(pipe, "vae", None) is not None:
        made["through the autoencoder"] = _as_file(_through(pipe.vae, images))
    return made


@torch.no_grad()
def _through(autoencoder: Any, images: Tensor) -> Tensor:
    """What the decoder makes of an image's own latents: the best copy that the base can draw."""
    place = next(autoencoder.parameters())
    parts = []
    for part in torch.split(images, 8):
        latents = autoencoder.encode(part.to(place)).latent_dist.mode()
        parts.append(autoencoder.decode(latents).sample.float().cpu())
    return torch.cat(parts).clamp(-1, 1)


def _as_file(images: Tensor) -> Tensor:
    """Rounded to 8 bits, as a PNG would be."""
    return ((images + 1) * 127.5).round() / 127.5 - 1
