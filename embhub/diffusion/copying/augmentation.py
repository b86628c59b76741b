"""Small changes of a film: turned, shifted, scaled, re-lit. The built-in X-ray base was trained on films changed so."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def augment(
    images: Tensor,
    generator: torch.Generator,
    *,
    turn: float = 5.0,
    shift: float = 0.06,
    scale: float = 0.08,
    light: float = 0.1,
) -> Tensor:
    """Images (N, 1, H, W) in [-1, 1], each turned (degrees), shifted (half-widths), scaled and re-lit a little at
    random."""
    count = len(images)

    def within(most: float) -> Tensor:
        return (torch.rand(count, generator=generator) * 2 - 1) * most

    angle, size = within(turn * torch.pi / 180), 1 + within(scale)
    cos, sin = torch.cos(angle) * size, torch.sin(angle) * size
    rows = [torch.stack([cos, -sin, within(shift)], 1), torch.stack([sin, cos, within(shift)], 1)]
    grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    moved = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    return (moved * (1 + within(light)).view(-1, 1, 1, 1) + within(light).view(-1, 1, 1, 1)).clamp(-1, 1)
