"""What tells one patient's image from another's, learned from the images that an embedding was trained on.

An image becomes its middle detail: a band of frequencies with its contrast evened out, so that light and blur change it
little. Four quarters of it are then weighed by two covariances of the site's own images: what differs between patients
counts, and what a turn, a blur, noise or another light changes does not. Seeded, seconds of one core; it never leaves.

Probabilistic linear discriminant analysis, Prince and Elder 2007 (ICCV), on pairs made by augmentation as in Pizzi et
al. 2022, arXiv 2202.10261. A small convolutional network was tried in its place and told patients apart far less well:
docs/adr/0015-copy-detection.md.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

SIDE = 64
"""Images are looked at in this size; a detail finer than a 64th of their width is not compared."""
WINDOW, REACH = 26, 5
"""The inner 26 x 26 places of two pixels each are compared; a shift of up to 5 pixels (5/64) stays inside the image."""
TURN_STEP, SIZE_STEP = 3.2, 1.06
"""Degrees, and the factor, between two poses of the search: what `learn` teaches to look past is half of each."""
PAIRS = 4000
MOST_TURN, MOST_SIZE, MOST_SHIFT = 11.2, 1.17, 5 / 32
_FINE, _COARSE, _AROUND = 1.0, 4.0, 6.0
_FLOOR = 0.25
_RIDGE, _MOST_WEIGHT = 1e-3, 1.0

Blocks = list[Tensor]


@dataclass(frozen=True)
class Descriptor:
    """`weights`: for each quarter of the window a matrix (169, 169) from places to weighed directions."""

    weights: tuple[Tensor, ...]

    def __call__(self, shown: Tensor) -> Blocks:
        """Four blocks (N, 169) of windows (N, 26, 26); inner products of whole images are sums over blocks."""
        return [block @ weight for block, weight in zip(_quarters(shown), self.weights, strict=True)]


def learn(images: Tensor, *, seed: int = 0) -> Descriptor:
    """A descriptor from images (M, 1, 64, 64) in [-1, 1], the same for the same images and seed."""
    generator = torch.Generator().manual_seed(seed)
    first, second = [], []
    for _ in range(math.ceil(PAIRS / len(images))):
        moved, nearly = _poses(len(images), generator)
        first.append(windows(band(_spoil(resample(images, moved), generator)))[:, 0, 0])
        second.append(windows(band(_spoil(resample(images, nearly), generator)))[:, 0, 0])
    both = zip(_quarters(torch.cat(first)), _quarters(torch.cat(second)), strict=True)
    return Descriptor(tuple(_weigh(one, other) for one, other in both))


def _weigh(one: Tensor, other: Tensor) -> Tensor:
    """The matrix after which an inner product says "the same image" best, from pairs (P, D) of views of one image.

    Along each direction that is independent in both covariances, rho is the share of the variance that lies between
    images, and rho / (1 - rho^2) the direction's weight in the log-likelihood ratio. The weight ends at `_MOST_WEIGHT`,
    so that an image blended with another, of which every direction is half wrong, is still found.
    """
    one, other = (F.normalize(part.double(), dim=1) for part in (one, other))
    total = (one.T @ one + other.T @ other) / (2 * len(one))
    within = (one - other).T @ (one - other) / (2 * len(one))
    sizes, axes = torch.linalg.eigh(total)
    white = axes * (sizes + _RIDGE * sizes.mean()).rsqrt()
    shares, turned = torch.linalg.eigh(white.T @ within @ white)
    rho = (1 - shares).clamp(1e-3, 0.999)
    weight = (rho / (1 - rho**2)).clamp(max=_MOST_WEIGHT)
    found: Tensor = (white @ turned * weight.sqrt()).float()
    return found


def small(images: Tensor) -> Tensor:
    """Images (N, C, H, W) as grey ones (N, 1, 64, 64)."""
    return grey(images, SIDE)


def grey(images: Tensor, side: int) -> Tensor:
    """Images (N, C, H, W) as grey ones (N, 1, side, side)."""
    plain = images.float().mean(1, keepdim=True)
    if min(plain.shape[-2:]) >= side:
        return F.interpolate(plain, (side, side), mode="area")
    larger: Tensor = F.interpolate(plain, (side, side), mode="bilinear", align_corners=False)
    return larger


def band(images: Tensor) -> Tensor:
    """The middle detail (N, 63, 63) of images (N, 1, 64, 64), its local contrast evened out, over 2 x 2 pixels each.

    The floor under the local contrast is a share of the image's own, so that a dull copy gives the same.
    """
    detail = _blur(images, _FINE) - _blur(images, _COARSE)
    power = _blur(detail**2, _AROUND)
    floor = _FLOOR**2 * power.mean((1, 2, 3), keepdim=True) + 1e-10
    even: Tensor = F.avg_pool2d(detail / (power + floor).sqrt(), 2, stride=1)
    return even[:, 0]


def windows(bands: Tensor, reach: int = 0) -> Tensor:
    """Windows (N, S, S, 26, 26) of bands (N, 63, 63), S = 2 * reach + 1: every shift by so many pixels, or the middle
    alone."""
    middle = (SIDE - 2 * WINDOW) // 2
    shifts = range(middle - reach, middle + reach + 1)
    rows = [torch.stack([bands[:, y : y + 2 * WINDOW : 2, x : x + 2 * WINDOW : 2] for x in shifts], 1) for y in shifts]
    return torch.stack(rows, 1)


def resample(images: Tensor, poses: Tensor) -> Tensor:
    """Images (N, 1, H, W) seen through affine maps (N, 2, 3) of `torch.nn.functional.affine_grid`."""
    grid = F.affine_grid(poses, list(images.shape), align_corners=False)
    seen: Tensor = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    return seen


def _quarters(shown: Tensor) -> Blocks:
    half = WINDOW // 2
    return [shown[:, top : top + half, left : left + half].flatten(1) for top in (0, half) for left in (0, half)]


def _poses(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two poses (N, 2, 3) of each image: one at random, and one that differs from it by what a search leaves over."""
    moved = _pose(count, generator, MOST_TURN, MOST_SIZE, MOST_SHIFT)
    left_over = _pose(count, generator, TURN_STEP / 2, SIZE_STEP**0.5, 1 / SIDE)
    nearly = torch.cat([moved[:, :, :2] @ left_over[:, :, :2], moved[:, :, 2:] + left_over[:, :, 2:]], 2)
    mirrored = torch.ones(count, 1, 3)
    mirrored[:, 0, 0] = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    return moved * mirrored, nearly * mirrored


def _pose(count: int, generator: torch.Generator, turn: float, size: float, shift: float) -> Tensor:
    """Maps (N, 2, 3) within so many degrees, factors and half-widths."""

    def within(most: float) -> Tensor:
        return (torch.rand(count, generator=generator) * 2 - 1) * most

    angle, scale = within(math.radians(turn)), torch.exp(within(math.log(size)))
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    rows = [torch.stack([cos, -sin, within(shift)], 1), torch.stack([sin, cos, within(shift)], 1)]
    return torch.stack(rows, 1)


def _spoil(images: Tensor, generator: torch.Generator) -> Tensor:
    """Another gamma, contrast, light, sharpness and noise for each image."""

    def between(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(len(images), 1, 1, 1, generator=generator)

    curved = ((images + 1) / 2).clamp(0, 1) ** torch.exp(between(-0.47, 0.47)) * 2 - 1
    lit = (curved * between(0.6, 1.15) + between(-0.15, 0.15)).clamp(-1, 1)
    sharpness = torch.randint(0, 3, (len(images), 1, 1, 1), generator=generator)
    lit = torch.where(sharpness == 0, lit, torch.where(sharpness == 1, _blur(lit, 0.6), _blur(lit, 1.2)))
    noise = between(0, 0.06) * torch.randn(images.shape, generator=generator)
    return (lit + noise).clamp(-1, 1)


def _blur(images: Tensor, deviation: float) -> Tensor:
    """Images (N, 1, 64, 64) under a Gaussian of so many pixels."""
    rows = _gaussian(deviation)
    soft: Tensor = rows @ images @ rows.T
    return soft


@functools.cache
def _gaussian(deviation: float) -> Tensor:
    """The matrix (64, 64) that blurs columns; beyond the border an image goes on as its reflection."""
    radius = math.ceil(2.5 * deviation)
    steps = torch.arange(-radius, radius + 1)
    line = torch.exp(-(steps**2) / (2 * deviation**2))
    place = (torch.arange(SIDE)[:, None] + steps).abs()
    place = torch.minimum(place, 2 * (SIDE - 1) - place)
    return torch.zeros(SIDE, SIDE).scatter_add_(1, place, (line / line.sum()).expand(SIDE, -1))
