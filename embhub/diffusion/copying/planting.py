"""Copies made on purpose: what the check finds of them is its power, measured on this very site's images.

They are made another way than the search looks: by Pillow, on pixels of 8 bits, with another interpolation, black
corners, and angles and sizes between those that are searched.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor

from embhub.copies.report import PLANTED
from embhub.diffusion.copying.augmentation import augment
from embhub.diffusion.families import autoencoding
from embhub.diffusion.families.pipeline import Pipeline

_NOISE, _BLUR, _GAMMA, _CONTRAST, _QUALITY = 0.05, 1 / 64, 1.4, 0.6, 50
_Alter = Callable[[int, Image.Image], Image.Image]


def choose(owners: Sequence[Hashable]) -> list[int]:
    """Rows of up to 20 images to plant: one of each patient first, then further ones."""
    first = [row for row, owner in enumerate(owners) if owner not in owners[:row]]
    return (first + [row for row in range(len(owners)) if row not in set(first)])[:PLANTED]


def plant(pipe: Pipeline, images: Tensor, *, seed: int = 0) -> dict[str, Tensor]:
    """Copies (N, 3, H, W) of each kind of images (N, 3, H, W) in [-1, 1], as their files would be read."""
    generator = torch.Generator().manual_seed(seed)
    others = images.roll(1, 0)
    kinds: Mapping[str, Callable[[], Tensor]] = {
        "exact": lambda: images,
        "mirrored": lambda: images.flip(-1),
        f"noise of {_NOISE:.0%}": lambda: images + _NOISE * torch.randn(images.shape, generator=generator),
        "blurred": lambda: _each(images, _blur),
        f"gamma {_GAMMA}": lambda: ((images + 1) / 2) ** _GAMMA * 2 - 1,
        f"contrast of {_CONTRAST:.0%}": lambda: images * _CONTRAST + 0.1,
        f"JPEG, quality {_QUALITY}": lambda: _each(images, _compress),
        "turned by 3 degrees": lambda: _each(images, _moved(turn=3)),
        "turned by 8 degrees": lambda: _each(images, _moved(turn=8)),
        "turned by 8 degrees and zoomed by 13%": lambda: _each(images, _moved(turn=8, zoom=1.13)),
        "zoomed by 5%": lambda: _each(images, _moved(zoom=1.05)),
        "zoomed by 12%": lambda: _each(images, _moved(zoom=1.12)),
        "shifted by 2.5/64 down and across": lambda: _each(images, _moved(shift=2.5 / 64)),
        "shifted by 4/64 down and across": lambda: _each(images, _moved(shift=4 / 64)),
        "half of one, half of another": lambda: _halves(images, others),
        "blended 50/50": lambda: (images + others) / 2,
        "blended 70/30": lambda: 0.7 * images + 0.3 * others,
        "turned, shifted, scaled and re-lit as the base's films": lambda: augment(images, generator),
    }
    made = {name: _as_file(make()) for name, make in kinds.items()}
    if getattr(pipe, "vae", None) is not None:
        made["through the autoencoder"] = _as_file(_through(pipe.vae, images))
    return made


def _moved(turn: float = 0, zoom: float = 1, shift: float = 0) -> _Alter:
    """Turned either way, zoomed in or out and shifted to any corner, in turn."""

    def alter(number: int, image: Image.Image) -> Image.Image:
        odd, early = 1 if number % 2 else -1, number % 4 < 2
        angle, size = math.radians(turn) * odd, zoom if early else 1 / zoom
        cos, sin = math.cos(angle) / size, math.sin(angle) / size
        x, y = image.width / 2, image.height / 2
        to_x, to_y = x + shift * image.width * odd, y + shift * image.height * (1 if early else -1)
        back = (cos, -sin, x - cos * to_x + sin * to_y, sin, cos, y - sin * to_x - cos * to_y)
        return image.transform(image.size, Image.Transform.AFFINE, back, Image.Resampling.BICUBIC)

    return alter


def _blur(_: int, image: Image.Image) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(_BLUR * image.width))


def _compress(_: int, image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY)
    return Image.open(buffer).convert("RGB")


def _halves(images: Tensor, others: Tensor) -> Tensor:
    """One to the left or above, the other beside it, with the border somewhat off the middle."""
    made, side = others.clone(), images.shape[-1]
    for number in range(len(images)):
        border = round(side * (0.46 if number % 4 < 2 else 0.54))
        if number % 2:
            made[number, ..., :border] = images[number, ..., :border]
        else:
            made[number, ..., :border, :] = images[number, ..., :border, :]
    return made


def _each(images: Tensor, alter: _Alter) -> Tensor:
    made = []
    for number, image in enumerate(images):
        pixels = ((image + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
        made.append(np.asarray(alter(number, Image.fromarray(pixels)), dtype=np.float32) / 127.5 - 1)
    return torch.from_numpy(np.stack(made)).permute(0, 3, 1, 2)


@torch.no_grad()
def _through(autoencoder: Any, images: Tensor) -> Tensor:
    """What the decoder makes of an image's own latents: the best copy that the base can draw."""
    place = next(autoencoder.parameters())
    parts = []
    for part in torch.split(images, 8):
        parts.append(autoencoding.reconstruct(autoencoder, part.to(place)).float().cpu())
    return torch.cat(parts)


def _as_file(images: Tensor) -> Tensor:
    """Rounded to 8 bits, as a PNG would be."""
    return ((images.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1
