"""Pictures on a demo's page, in the page itself."""

from __future__ import annotations

import base64
import io
from typing import NamedTuple

import numpy as np
from PIL import Image

from examples.demo.scenario import Pictures


class Grid(NamedTuple):
    """A contact sheet on the page: uint8 images (N, H, W, 3) under a title."""

    title: str
    caption: str
    images: Pictures


def sheet(images: Pictures, *, columns: int = 6, scale: int = 2) -> Image.Image:
    """A contact sheet of uint8 images (N, H, W, 3), `columns` wide, each enlarged `scale` times."""
    count, height, width, _ = images.shape
    rows = -(-count // columns)
    canvas = np.full((rows * (height + 2), columns * (width + 2), 3), 255, np.uint8)
    for index, image in enumerate(images):
        top, left = index // columns * (height + 2), index % columns * (width + 2)
        canvas[top : top + height, left : left + width] = image
    return Image.fromarray(canvas).resize((canvas.shape[1] * scale, canvas.shape[0] * scale), Image.Resampling.BICUBIC)


def inline(image: Image.Image) -> str:
    """A picture as an address of its own, so that a page needs no other file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
