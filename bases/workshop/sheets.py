"""Sheets of small pictures for the eye, written as PNG."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor


def sheet(path: Path, images: Tensor, columns: int) -> Path:
    """Write images (N, 3, H, W) in [-1, 1] as one PNG, `columns` side by side, two pixels apart; return its path."""
    count, _, height, width = images.shape
    rows = -(-count // columns)
    canvas = torch.full((3, rows * (height + 2), columns * (width + 2)), 255, dtype=torch.uint8)
    grey = ((images.clamp(-1, 1) + 1) * 127.5).round().byte()
    for place, image in enumerate(grey):
        top, left = place // columns * (height + 2), place % columns * (width + 2)
        canvas[:, top : top + height, left : left + width] = image
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(canvas.permute(1, 2, 0).numpy()).save(path)
    return path
