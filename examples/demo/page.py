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

from embhub.audits import epsilon_gauge
from embhub.audits.report import AuditReport
from embhub.privacy import wording
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


def write(
    path: Path, *, story: Mapping[str, Any], grids: Sequence[Grid], more: Sequence[Grid], report: AuditReport,
    samples: Path,
) -> None:  # fmt: skip
    """Write the page from the summary that also goes to summary.json, with the audit's gauge of epsilon; `more` are
    grids of the embedding that came as a file, `samples` is the published contact sheet."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
    )
    shown, others = (
        [{"title": g.title, "caption": g.caption, "source": inline(sheet(g.images))} for g in part]
        for part in (grids, more)
    )
    assert report.claim is not None  # of the suite `mechanism`
    text = environment.get_template("page.html").render(
        story, grids=shown, more=others, samples=inline(Image.open(samples)),
        gauge=Markup(epsilon_gauge.draw(report.shown_epsilon, report.claim.epsilon)),  # our own SVG
        bound=wording.person("patient", report.claim.epsilon, report.claim.delta),
    )  # fmt: skip
    path.write_text(text, encoding="utf-8")


def inline(image: Image.Image) -> str:
    """A picture as an address of its own, so that a page needs no other file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
