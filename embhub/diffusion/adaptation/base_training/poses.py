"""Poses of images: told in captions, drawn at random, and applied.

A pose is a condition that a caption tells, so that a base learns from each image many times and yet generates images as
they were taken.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from embhub.diffusion.adaptation.base_training.latent_pictures import SIDE

POSES = "mirrored, turned clockwise, turned anticlockwise, closer, farther, darker, brighter"


@dataclass(frozen=True)
class Poses:
    """How each of N films is altered: `mirrored` bool; `turn` in degrees, clockwise; `zoom`, above 0 is closer;
    `shift` (N, 2) in half-widths; `light`, above 0 is brighter."""

    mirrored: Tensor
    turn: Tensor
    zoom: Tensor
    shift: Tensor
    light: Tensor

    def words(self, index: int) -> list[str]:
        """What of the pose is told; nothing for a film as it was taken. Shifts are too small to be told."""
        told = [(bool(self.mirrored[index]), "mirrored")]
        told += _told(float(self.turn[index]), 2.5, "turned clockwise", "turned anticlockwise")
        told += _told(float(self.zoom[index]), 0.04, "closer", "farther")
        told += _told(float(self.light[index]), 0.04, "brighter", "darker")
        return [word for is_so, word in told if is_so]


def _told(value: float, least: float, above: str, below: str) -> list[tuple[bool, str]]:
    return [(value > least, above), (value < -least, below)]


def plain(images: Tensor) -> Tensor:
    """Images as they were taken, (N, 3, 128, 128) in [-1, 1], of uint8 (N, C, S, S)."""
    return pose(images, still(len(images)))


def still(count: int) -> Poses:
    """The pose of films as they were taken."""
    none = torch.zeros(count)
    return Poses(none.bool(), none, none, torch.zeros(count, 2), none)


def draw_poses(count: int, generator: torch.Generator) -> Poses:
    """Random poses: a quarter mirrored; turned, moved and lit by a normal deviate, cut off at two deviations."""

    def around(deviation: float, *size: int) -> Tensor:
        return torch.randn(count, *size, generator=generator).clamp(-2, 2) * deviation

    mirrored = torch.rand(count, generator=generator) < 0.25
    return Poses(mirrored, around(3.0), around(0.06), around(0.03, 2), around(0.06))


def first_still(poses: Poses, count: int) -> Poses:
    """`poses` with the first `count` films as they were taken."""
    rest = slice(count, None)
    parts = zip(vars(still(count)).values(), vars(poses).values(), strict=True)
    return Poses(*(torch.cat([none, part[rest]]) for none, part in parts))


def chosen(poses: Poses, places: Tensor) -> Poses:
    """The poses at some places."""
    return Poses(*(part[places] for part in vars(poses).values()))


def pose(images: Tensor, poses: Poses) -> Tensor:
    """Images uint8 (N, C, S, S), C 1 or 3, under `poses`, resampled once: (N, 3, 128, 128) in [-1, 1].

    Computed on the device of `images`.
    """
    device = images.device
    taken = images.float() / 127.5 - 1
    mirrored, turn, zoom, shift, light = (part.to(device) for part in vars(poses).values())
    angle, size = turn * torch.pi / 180, 1 / (1 + zoom)
    flip = torch.where(mirrored, -1.0, 1.0)
    cos, sin = torch.cos(angle) * size, torch.sin(angle) * size
    rows = [torch.stack([cos * flip, sin * flip, shift[:, 0]], 1), torch.stack([-sin, cos, shift[:, 1]], 1)]
    shape = [len(images), images.shape[1], SIDE * 2, SIDE * 2]
    grid = F.affine_grid(torch.stack(rows, 1), shape, align_corners=False)
    fine = F.grid_sample(taken, grid, mode="bicubic", padding_mode="border", align_corners=False)
    lit = F.avg_pool2d(fine, 2) * (1 + light.view(-1, 1, 1, 1)) + light.view(-1, 1, 1, 1)
    shown: Tensor = lit.clamp(-1, 1).expand(-1, 3, -1, -1)
    return shown
