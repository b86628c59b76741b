"""The demo's page: what happened, in the order it happened, with the pictures; one self-contained HTML file."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import numpy as np
from markupsafe import Markup
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


def write(path: Path, *, story: Mapping[str, Any], grids: Sequence[Grid], roc: str) -> None:
    """Write the page from the summary that also goes to summary.json; `roc` is the audit's SVG drawing."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
    )
    shown = [{"title": g.title, "caption": g.caption, "source": _inline(sheet(g.images))} for g in grids]
    drawing = Markup(roc)  # our own SVG
    path.write_text(environment.get_template("page.html").render(story, grids=shown, roc=drawing), encoding="utf-8")


def _inline(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
