"""The demo's page: what happened, in the order it happened, with the pictures; one self-contained HTML file."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Pictures = np.ndarray  # uint8 (N, H, W, 3)

STYLE = """
:root { color-scheme: light; --ink: #1b2733; --soft: #55636f; --line: #d5dde3; --good: #14632f; --bad: #9c1c1c; --paper: #f6f8f9 }
* { box-sizing: border-box } body { margin: 0; font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--paper) }
main { max-width: 62rem; margin: 0 auto; padding: 2rem 1.2rem 4rem } h1 { font-size: 1.7rem; margin: 0 0 .3rem }
h2 { font-size: 1.15rem; margin: 2.4rem 0 .5rem; border-top: 1px solid var(--line); padding-top: 1.2rem } p { max-width: 46rem }
.lead { color: var(--soft) } figure { margin: 1rem 0 } figcaption { color: var(--soft); font-size: .9rem; margin-top: .3rem }
img { width: 100%; image-rendering: auto; border-radius: 4px; display: block } .grids { display: grid; gap: 1.2rem; grid-template-columns: repeat(auto-fit, minmax(17rem, 1fr)) }
table { border-collapse: collapse; width: 100%; font-size: .95rem } td, th { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top }
.ok { color: var(--good); font-weight: 600 } .warning, .refused { color: var(--bad); font-weight: 600 } .note { color: var(--soft); font-weight: 600 }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(12rem, 1fr)); gap: .8rem; margin: 1.2rem 0 }
.figure { background: #fff; border: 1px solid var(--line); border-radius: 6px; padding: .8rem 1rem } .figure b { font-size: 1.5rem; display: block }
pre { background: #fff; border: 1px solid var(--line); border-radius: 6px; padding: .8rem 1rem; overflow-x: auto; font-size: .85rem } .roc { max-width: 26rem }
"""


def sheet(images: Pictures, *, columns: int = 8, scale: int = 2) -> Image.Image:
    """A contact sheet of uint8 images (N, H, W, 3), `columns` wide, each enlarged `scale` times."""
    count, height, width, _ = images.shape
    rows = -(-count // columns)
    canvas = np.full((rows * (height + 2), columns * (width + 2), 3), 255, np.uint8)
    for index, image in enumerate(images):
        top, left = index // columns * (height + 2), index % columns * (width + 2)
        canvas[top : top + height, left : left + width] = image
    return Image.fromarray(canvas).resize((canvas.shape[1] * scale, canvas.shape[0] * scale), Image.Resampling.BICUBIC)


def inline(image: Image.Image) -> str:
    """The image as a data URI, so that the page is one file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def write(path: Path, *, story: Mapping[str, Any], grids: Sequence[tuple[str, str, Pictures]], roc_svg: str) -> None:
    """Write the page. `grids` holds (title, caption, images); `story` is the summary that also goes to summary.json."""
    pictures = "".join(
        f'<figure><img alt="{escape(title)}" src="{inline(sheet(images, columns=6))}"><figcaption><b>{escape(title)}</b> {escape(text)}'
        "</figcaption></figure>"
        for title, text, images in grids
    )
    body = "".join(
        [
            f"<h1>{escape(story['title'])}</h1><p class=lead>{escape(story['lead'])}</p>",
            _headline(story),
            f"<h2>What the embedding draws</h2>{_verdict_on_pictures(story)}<div class=grids>{pictures}</div>",
            "<h2>Does it help a classifier?</h2>",
            _utility(story["utility"]),
            "<h2>The site's own audit, before publishing</h2>",
            f"<p>{escape(story['audit']['statement'])}</p><div class=roc>{roc_svg}</div>",
            "<h2>What verification found at the other hospital</h2>",
            _findings(story["verification"]["findings"]),
            "<h2>What altered copies got</h2>",
            _refusals(story["tampering"]),
            f"<h2>Every step</h2><pre>{escape(chr(10).join(story['commands']))}</pre>",
            f"<p class=lead>{escape(story['footer'])}</p>",
        ]
    )
    page = f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    page += f"<title>{escape(story['title'])}</title><style>{STYLE}</style><main>{body}</main></html>"
    path.write_text(page, encoding="utf-8")


def _headline(story: Mapping[str, Any]) -> str:
    recognised, utility = story["recognised"], story["utility"]
    low, high = utility["gain_interval"]
    cells = [
        (f"{recognised['before']:.0%} → {recognised['after']:.0%}", f"of {recognised['n']} drawn images the judge calls the finding, without and with the embedding"),
        (f"{utility['auc_real']:.3f} → {utility['auc_real_plus_synthetic']:.3f}", f"classifier AUC, real images and real plus drawn; gain interval [{low:+.3f}, {high:+.3f}]"),
        (f"{story['embedding']['bytes']:,} bytes", f"{story['embedding']['vectors']} vectors are all that left the hospital"),
        (f"{story['seconds_total'] / 60:.1f} min", "the whole demo on this machine"),
    ]
    return "<div class=figures>" + "".join(f"<div class=figure><b>{escape(a)}</b>{escape(b)}</div>" for a, b in cells) + "</div>"


def _verdict_on_pictures(story: Mapping[str, Any]) -> str:
    return f"<p>{escape(story['recognised']['words'])}</p>"


def _utility(utility: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{escape(arm['name'])}<td>{arm['auc']:.3f}<td>{_interval(arm.get('gain'), arm.get('interval'))}" for arm in utility["arms"]
    )
    return f"<p>{escape(utility['words'])}</p><table><tr><th>Training images<th>Test AUC<th>Gain over real only (95 %)</tr>{rows}</table>"


def _interval(gain: float | None, interval: Sequence[float] | None) -> str:
    return "" if gain is None or interval is None else f"{gain:+.3f} [{interval[0]:+.3f}, {interval[1]:+.3f}]"


def _findings(findings: Sequence[Mapping[str, str]]) -> str:
    rows = "".join(
        f'<tr><td class="{escape(f["outcome"])}">{escape(f["outcome"])}<td>{escape(f["check"])}<td>{escape(f["text"])}</tr>' for f in findings
    )
    return f"<table>{rows}</table>"


def _refusals(cases: Sequence[Mapping[str, Any]]) -> str:
    rows = "".join(
        f'<tr><td>{escape(c["what"])}<td class=refused>refused, exit {c["exit_code"]}<td>{escape(c["said"])}</tr>' for c in cases
    )
    return f"<table>{rows}</table>"
