"""Blobs of an image and what each looks like, so that a piece of it is known again wherever and however it lies.

Scale-invariant features, Lowe 2004 (Int. J. Comput. Vis. 60), with the square root of Arandjelovic and Zisserman 2012
(CVPR): places where a difference of Gaussians peaks, each with its size and the direction of its gradients, and
histograms of the gradients around it, in its own direction. A mirrored or inverted image has the same histograms in
another order, so these need no second look: sums and differences of the four orders only change their signs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from embhub.diffusion.copying.describing import grey

SIDE = 128
"""Images are looked at in this size."""
MOST = 320
"""Blobs of an image, the strongest ones."""
FORMS = torch.tensor([[1.0, 1, 1, 1], [1, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]])
"""An image as it is, inverted, mirrored, and both: with what signs the four parts of what its blobs look like count."""
_LEVELS, _STEPS, _FINEST = 13, 3, 0.8
_AROUND, _FLOOR = 12.0, 0.25
_EDGE, _MARGIN = 12.1, 3
_DIRECTIONS, _CELLS, _BINS = 36, 4, 8
_WIDTH = 12.0
_AT_ONCE = 16


@dataclass(frozen=True)
class Keypoints:
    """Blobs of N images, K each: `x`, `y` in pixels, `size` the logarithm of their scale, `angle` in radians, `looks`
    (N, K, 4, 32) of length 1 by `fold`, and `real` (N, K) where an image has so many."""

    x: Tensor
    y: Tensor
    size: Tensor
    angle: Tensor
    looks: Tensor
    real: Tensor

    def __getitem__(self, rows: slice) -> Keypoints:
        return Keypoints(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    def forms(self) -> tuple[Tensor, Tensor]:
        """`x` and `angle` (4, N, K) of the blobs as they are, inverted, mirrored, and both; `y` and `size` stay."""
        x = torch.stack([self.x, self.x, SIDE - 1 - self.x, SIDE - 1 - self.x])
        return x, torch.stack([self.angle, self.angle + math.pi, math.pi - self.angle, -self.angle])


def find(images: Tensor) -> Keypoints:
    """The blobs of images (N, C, H, W)."""
    parts = [_find(part) for part in torch.split(images, _AT_ONCE)]
    return Keypoints(*(torch.cat([getattr(part, name) for part in parts]) for name in Keypoints.__dataclass_fields__))


def _find(images: Tensor) -> Keypoints:
    levels = _even(grey(images, SIDE)) @ _BLURS.transpose(-1, -2)
    levels = _BLURS @ levels
    x, y, level, real = _peaks(levels[:, 1:] - levels[:, :-1])
    scale = _FINEST * 2 ** (level / _STEPS)
    angle = _direction(_patches(levels, x, y, level, torch.zeros_like(x), scale, 14, 10.5))
    looks = _histograms(_patches(levels, x, y, level, angle, scale, 18, _WIDTH * 18 / 16))
    return Keypoints(x, y, scale.log(), angle, fold(looks * real[..., None]), real)


def _blur(deviation: float) -> Tensor:
    """The matrix (128, 128) that blurs rows by a Gaussian, the last pixel going on beyond the border."""
    place = torch.arange(-SIDE, 2 * SIDE)
    weights = torch.exp(-((torch.arange(SIDE)[:, None] - place) ** 2) / (2 * deviation**2))
    weights = weights / weights.sum(1, keepdim=True)
    return torch.zeros(SIDE, SIDE).index_add_(1, place.clamp(0, SIDE - 1), weights)


_BLURS = torch.stack([_blur(_FINEST * 2 ** (level / _STEPS)) for level in range(_LEVELS)])
_WIDE = _blur(_AROUND)


def _even(images: Tensor) -> Tensor:
    """Images (N, 1, 128, 128) with their local contrast evened out."""
    detail = images - _WIDE @ images @ _WIDE.T
    power = _WIDE @ detail**2 @ _WIDE.T
    even: Tensor = detail / (power + _FLOOR**2 * power.mean((1, 2, 3), keepdim=True) + 1e-8).sqrt()
    return even


def _peaks(bands: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Places x, y and level (N, K) where the bands (N, L, H, W) peak among their neighbours, and which are real.

    Along an edge a place is not certain, so what is longer than it is wide does not count.
    """
    height = bands.abs()
    across = F.pad(bands[..., 2:] + bands[..., :-2] - 2 * bands[..., 1:-1], (1, 1))
    down = F.pad(bands[..., 2:, :] + bands[..., :-2, :] - 2 * bands[..., 1:-1, :], (0, 0, 1, 1))
    corners = bands[..., 2:, 2:] + bands[..., :-2, :-2] - bands[..., 2:, :-2] - bands[..., :-2, 2:]
    curve = across * down - (F.pad(corners, (1, 1, 1, 1)) / 4) ** 2
    peak = (height >= _highest(height)) & (curve > 0)
    peak &= (across + down) ** 2 < _EDGE * curve
    inside = torch.zeros_like(peak)
    inside[:, 1:-1, _MARGIN:-_MARGIN, _MARGIN:-_MARGIN] = True
    flat, (_, width) = height.flatten(1), height.shape[-2:]
    strength, place = torch.where(peak & inside, height, torch.zeros_like(height)).flatten(1).topk(MOST, 1)

    def top(step: int) -> Tensor:
        before, here, after = (flat.gather(1, (place + side * step).clamp(0, flat.shape[1] - 1)) for side in (-1, 0, 1))
        return _top(before, here, after)

    area = width * height.shape[-2]
    return (
        place % width + top(1),
        place // width % height.shape[-2] + top(width),
        place // area + top(area),
        strength > 0,
    )


def _highest(values: Tensor) -> Tensor:
    """The highest of each value (N, L, H, W) and its 26 neighbours; the borders, which go round, do not count."""
    for axis in (-1, -2, -3):
        values = torch.maximum(values, torch.maximum(values.roll(1, axis), values.roll(-1, axis)))
    return values


def _top(before: Tensor, here: Tensor, after: Tensor) -> Tensor:
    """How far from the middle one of three values the parabola through them is highest."""
    return ((after - before) / (2 * (2 * here - before - after)).clamp_min(1e-6)).clamp(-0.5, 0.5)


def _patches(
    levels: Tensor, x: Tensor, y: Tensor, level: Tensor, angle: Tensor, scale: Tensor, side: int, width: float
) -> Tensor:
    """Squares (N, K, side, side) around blobs, turned into their direction and `width` times their scale wide."""
    line = ((torch.arange(side) + 0.5) / side - 0.5) * width
    right, below = line.repeat(side), line.repeat_interleave(side)
    cos, sin = (part[..., None] for part in (torch.cos(angle) * scale, torch.sin(angle) * scale))
    across, down = x[..., None] + cos * right - sin * below, y[..., None] + sin * right + cos * below
    depth = level[..., None].expand_as(across)
    sides = (SIDE, SIDE, levels.shape[1])
    grid = torch.stack([(p + 0.5) / n * 2 - 1 for p, n in zip((across, down, depth), sides, strict=True)], -1)
    seen: Tensor = F.grid_sample(levels[:, None], grid[:, None], padding_mode="border", align_corners=False)
    return seen[:, 0, 0].reshape(*x.shape, side, side)


def _gradients(patches: Tensor) -> tuple[Tensor, Tensor]:
    """Length and direction, in radians from 0 to 2 pi, of the gradients inside patches."""
    across = patches[..., 1:-1, 2:] - patches[..., 1:-1, :-2]
    down = patches[..., 2:, 1:-1] - patches[..., :-2, 1:-1]
    return (across**2 + down**2).sqrt(), torch.atan2(down, across) % (2 * math.pi)


def _spread(length: Tensor, direction: Tensor, bins: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The two bins nearest to each direction, and what of the length belongs to each."""
    place = direction / (2 * math.pi) * bins
    first = place.floor()
    return (first.long() % bins, length * (1 - place + first)), ((first.long() + 1) % bins, length * (place - first))


def _direction(patches: Tensor) -> Tensor:
    """The direction (N, K) in radians that most of the gradients in patches have."""
    length, direction = _gradients(patches)
    line = torch.linspace(-1, 1, length.shape[-1]) * 4.1
    near = torch.exp(-(line[:, None] ** 2 + line**2) / (2 * 2.25**2))
    counts = length.new_zeros(*length.shape[:2], _DIRECTIONS)
    for place, share in _spread(length * near, direction, _DIRECTIONS):
        counts.scatter_add_(2, place.flatten(2), share.flatten(2))
    for _ in range(4):
        counts = (counts.roll(1, 2) + counts + counts.roll(-1, 2)) / 3
    most = counts.argmax(2, keepdim=True)
    before, here, after = (counts.gather(2, (most + side) % _DIRECTIONS) for side in (-1, 0, 1))
    found: Tensor = (most + _top(before, here, after))[..., 0] / _DIRECTIONS * 2 * math.pi
    return found


def _histograms(patches: Tensor) -> Tensor:
    """What blobs look like (N, K, 128): eight directions of gradients in each of 4 x 4 cells."""
    length, direction = _gradients(patches)
    side = length.shape[-1]
    line = (torch.arange(side) + 0.5) / side * 2 - 1
    length = length * torch.exp(-2 * (line[:, None] ** 2 + line**2))
    bins = length.new_zeros(*length.shape[:2], _BINS, side, side)
    for place, share in _spread(length, direction, _BINS):
        bins.scatter_add_(2, place[:, :, None], share[:, :, None])
    middle, cell = (torch.arange(_CELLS) + 0.5) * side / _CELLS, side / _CELLS
    near = (1 - (torch.arange(side) + 0.5 - middle[:, None]).abs() / cell).clamp_min(0)
    cells = torch.einsum("nkbyx,iy,jx->nkijb", bins, near, near).flatten(2)
    cells = F.normalize(cells, dim=2).clamp(max=0.2)
    return F.normalize(cells, p=1.0, dim=2).sqrt()


def fold(histograms: Tensor) -> Tensor:
    """Histograms (..., 128) in a basis (..., 4, 32) in which the inner product with a form is `FORMS @` those of parts.

    Being inverted and being mirrored are two exchanges of the 128 numbers. Each part keeps or changes its sign under
    either, so that four products of 32 numbers tell what four products of 128 do.
    """
    cells = histograms.reshape(*histograms.shape[:-1], _CELLS, _CELLS, _BINS)
    mirrored = cells.flip(-3)[..., (-torch.arange(_BINS)) % _BINS]
    orders = torch.stack([cells, cells.flip(-2, -3), mirrored, mirrored.flip(-2, -3)], -4)
    folded: Tensor = FORMS / 2 @ orders[..., : _CELLS // 2, : _CELLS // 2, :].flatten(-3)
    return folded
