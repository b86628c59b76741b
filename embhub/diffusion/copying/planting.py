"""Copies made on purpose: what the check finds of them is its power, measured on this very site's images.

They are made another way than the search looks: by Pillow, on pixels of 8 bits, with another interpolation, black
corners, and angles and sizes between those that are searched. Parts are pasted into images of patients kept back: in
another training image, that one would be found instead.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor
from torch.nn import functional as F

from embhub.copies.planted import KINDS, PLANTED
from embhub.diffusion.families import autoencoding, movq
from embhub.diffusion.families.pipeline import Pipeline

_NOISE, _BLUR, _GAMMA, _CONTRAST, _QUALITY, _BENT = 0.05, 1 / 64, 1.4, 0.6, 50, 0.06
_Alter = Callable[[int, Image.Image], Image.Image]


def choose(owners: Sequence[Hashable]) -> list[int]:
    """Rows of up to 20 images to plant: one of each patient first, then further ones."""
    first = [row for row, owner in enumerate(owners) if owner not in owners[:row]]
    return (first + [row for row in range(len(owners)) if row not in set(first)])[:PLANTED]


def plant(pipe: Pipeline, images: Tensor, hosts: Tensor, *, seed: int = 0) -> dict[str, Tensor]:
    """Copies (N, 3, H, W) of each kind of images (N, 3, H, W) in [-1, 1], as their files would be read.

    `hosts` (M, 3, H, W) are images of patients kept back, into which parts are pasted.
    """
    generator = torch.Generator().manual_seed(seed)
    others = hosts[torch.arange(len(images)) % len(hosts)]
    kinds: Mapping[str, Callable[[], Tensor]] = {
        "exact": lambda: images,
        "mirrored": lambda: images.flip(-1),
        "upside down": lambda: images.flip(-2),
        "inverted": lambda: -images,
        f"noise of {_NOISE:.0%}": lambda: images + _NOISE * torch.randn(images.shape, generator=generator),
        "blurred": lambda: _each(images, _blur),
        f"gamma {_GAMMA}": lambda: ((images + 1) / 2) ** _GAMMA * 2 - 1,
        f"contrast of {_CONTRAST:.0%}": lambda: images * _CONTRAST + 0.1,
        f"JPEG, quality {_QUALITY}": lambda: _each(images, _compress),
        "turned by 8 degrees": lambda: _each(images, _moved(turn=8)),
        "turned by 8 degrees and zoomed by 13%": lambda: _each(images, _moved(turn=8, zoom=1.13)),
        "turned by 15 degrees": lambda: _each(images, _moved(turn=15)),
        "turned by 25 degrees": lambda: _each(images, _moved(turn=25)),
        "turned by 90 degrees": lambda: images.rot90(1, (-2, -1)),
        "zoomed by 12%": lambda: _each(images, _moved(zoom=1.12)),
        "zoomed by 33 to 40%": lambda: _each(images, _zoomed),
        "shifted by 4/64 down and across": lambda: _each(images, _moved(shift=4 / 64)),
        "shifted by 9/64 down and across": lambda: _each(images, _moved(shift=9 / 64)),
        "a quarter of it, enlarged": lambda: _each(images, _enlarge),
        "stretched by 1.15 x 0.9": lambda: _each(images, _stretch),
        "bent by up to 6%": lambda: _bend(images, generator),
        "half of it beside another image": lambda: _halves(images, others),
        "its middle quarter in another image": lambda: _each(images, _paste(others, 1 / 2, (1 / 4, 1 / 4))),
        "a fifth of it in another image": lambda: _each(images, _paste(others, 7 / 16, (3 / 32, 17 / 64))),
        "blended 50/50 with another copy": lambda: (images + images.roll(1, 0)) / 2,
        "blended 70/30 with another image": lambda: 0.7 * images + 0.3 * others,
        "turned, shifted, scaled and re-lit as the base's films": lambda: augment(images, generator),
    }
    made = {name: _as_file(make()) for name, make in kinds.items()}
    if getattr(pipe, "vae", None) is not None:
        made[KINDS[-1]] = _as_file(_through(partial(autoencoding.reconstruct, pipe.vae), pipe.vae, images))
    elif getattr(pipe, "movq", None) is not None:
        made[KINDS[-1]] = _as_file(_through(partial(movq.reconstruct, pipe.movq), pipe.movq, images))
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


def _zoomed(number: int, image: Image.Image) -> Image.Image:
    """Enlarged 1.4 times, or made smaller to three quarters."""
    return _moved(zoom=1.4 if number % 4 < 2 else 4 / 3)(number, image)


def _enlarge(number: int, image: Image.Image) -> Image.Image:
    """One of its four quarters, in turn, as large as the whole."""
    x, y = image.width // 2, image.height // 2
    left, top = (number % 2) * x, (number // 2 % 2) * y
    return image.resize(image.size, Image.Resampling.BICUBIC, (left, top, left + x, top + y))


def _stretch(number: int, image: Image.Image) -> Image.Image:
    """Wider and less high, or the other way round."""
    across, down = (1.15, 0.9) if number % 2 else (0.9, 1.15)
    x, y = image.width / 2, image.height / 2
    back = (1 / across, 0, x - x / across, 0, 1 / down, y - y / down)
    return image.transform(image.size, Image.Transform.AFFINE, back, Image.Resampling.BICUBIC)


def _bend(images: Tensor, generator: torch.Generator) -> Tensor:
    """Bent smoothly at random, by up to 6 % of the width in each direction."""
    rough = torch.randn(len(images), 2, 4, 4, generator=generator)
    smooth = F.interpolate(rough, images.shape[-2:], mode="bicubic", align_corners=True)
    bent = smooth / smooth.abs().amax((-2, -1), keepdim=True) * 2 * _BENT
    plain = F.affine_grid(torch.eye(2, 3).expand(len(images), -1, -1), list(images.shape), align_corners=False)
    grid = plain + bent.permute(0, 2, 3, 1)
    seen: Tensor = F.grid_sample(images, grid, mode="bicubic", padding_mode="border", align_corners=False)
    return seen


def _paste(hosts: Tensor, share: float, corner: tuple[float, float]) -> _Alter:
    """A square of so much of the width, at its own place in another image, with a soft border."""

    def alter(number: int, image: Image.Image) -> Image.Image:
        host, side, width = _picture(hosts[number]), round(share * image.width), image.width
        left, top = (round(part * width) for part in corner)
        mask = Image.new("L", image.size)
        mask.paste(255, (left, top, left + side, top + side))
        return Image.composite(image, host, mask.filter(ImageFilter.GaussianBlur(width / 64)))

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
    made = [np.asarray(alter(number, _picture(image)), dtype=np.float32) for number, image in enumerate(images)]
    return torch.from_numpy(np.stack(made) / 127.5 - 1).permute(0, 3, 1, 2)


def _picture(image: Tensor) -> Image.Image:
    return Image.fromarray(((image + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).numpy())


@torch.no_grad()
def _through(reconstruct: Callable[[Tensor], Tensor], autoencoder: Any, images: Tensor) -> Tensor:
    """What the decoder makes of an image's own latents: the best copy that the base can draw."""
    place = next(autoencoder.parameters())
    return torch.cat([reconstruct(part.to(place)).float().cpu() for part in torch.split(images, 8)])


def _as_file(images: Tensor) -> Tensor:
    """Rounded to 8 bits, as a PNG would be."""
    return ((images.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Images (N, 1, H, W) in [-1, 1], each turned by up to 5 degrees, shifted, scaled and re-lit a little at random.

    The built-in X-ray base was trained on films changed so.
    """
    count = len(images)

    def within(most: float) -> Tensor:
        return (torch.rand(count, generator=generator) * 2 - 1) * most

    angle, size = within(5 * torch.pi / 180), 1 + within(0.08)
    cos, sin = torch.cos(angle) * size, torch.sin(angle) * size
    rows = [torch.stack([cos, -sin, within(0.06)], 1), torch.stack([sin, cos, within(0.06)], 1)]
    grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    moved = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    return (moved * (1 + within(0.1)).view(-1, 1, 1, 1) + within(0.1).view(-1, 1, 1, 1)).clamp(-1, 1)
