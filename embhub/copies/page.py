"""The copy check as one self-contained page for the site: no script, no address, and no image unless asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from embhub.copies.report import FEWEST_CAUGHT, MEASURES, PLANTED, Planted, Report, Sample, Verdict

TITLES: Mapping[Verdict, str] = {
    "copies-suspected": "Copies suspected",
    "no-copies-found": "No copies found",
    "insufficient-evidence": "This check says little",
}
STAYS = "This page stays at the site: its distances were measured from patients' images."
SHOWS_PATIENTS = "This page shows images of patients. It must not leave the site."
_WIDTH, _HEIGHT = 640, 46


def render(report: Report, *, title: str, pairs: Sequence[tuple[str, str]] = ()) -> str:
    """The page (HTML 5). `pairs` are a sample and its nearest training image each, as data addresses, in order."""
    rows = "".join(_row(report, sample, pairs[n] if pairs else None) for n, sample in enumerate(report.samples))
    head = "".join(f"<th>{name}: nearest over next ones</th><th>p</th>" for name in report.scores)
    planted = "".join(
        f"<tr><th>{escape(item.kind)}</th><td>{_bar(item)}</td><td class='{'' if item.enough else 'bad'}'>"
        f"{item.caught} of {item.tried}{'' if item.enough else ': too few'}</td></tr>"
        for item in report.planted
    )
    unit = f"{report.unit}s"
    body = f"""
<p class="stays"><b>{SHOWS_PATIENTS if pairs else STAYS}</b></p>
<p class="kicker">Copy check</p><h1>{escape(title)}</h1>
<div class="verdict {report.verdict}"><strong>{TITLES[report.verdict]}</strong><p>{escape(report.statement)}</p></div>
<p>For every drawn image the nearest of {report.members.images} training images ({report.members.units} {unit}) was
looked for, turned, scaled, shifted and mirrored a little. How near is too near was learned from
{report.controls.units} {unit} kept back: the grey marks. An image is suspected where others' images come as near with a
chance of {report.threshold:.2g} or less on any of {len(report.scores)} measures: among {len(report.samples)} images
that are as far from the training images as other people's, the chance of any false alarm is then about
{report.alpha:.0%} at most.</p>
{"".join(_strip(report, name) for name in report.scores)}
<h2>Every image</h2>
<div class=scroll><table><thead><tr>{"<th></th><th></th>" if pairs else ""}<th>image</th>{head}<th></th></tr></thead>
<tbody>{rows}</tbody></table></div>
<h2>What this check catches</h2>
<p>Copies of training images were planted and checked as the drawn ones were. No copies found is said only where at
least {FEWEST_CAUGHT} of {PLANTED} of every kind were caught.</p>
<div class=scroll><table class=power><thead><tr><th>planted</th><th></th><th>caught</th></tr></thead>
<tbody>{planted}</tbody></table></div>
<h2>What it does not show</h2>
<p>Only these images were looked at, not what else the embedding can draw. A copy that is turned or zoomed further than
those above, of less than half an image, bent, or of inverted contrast can pass. Whether anything may be published is
for the controller to decide.</p>
<table class=facts><tbody><tr><th>Embedding (SHA-256)</th><td><code>{report.embedding}</code></td></tr>
<tr><th>Base model</th><td>{escape(report.base)}</td></tr>
<tr><th>Made by</th><td>embhub {escape(report.embhub)}, {report.schema_}</td></tr></tbody></table>
"""
    return _PAGE.replace("@title@", escape(title)).replace("@style@", _STYLE).replace("@body@", body)


def _bar(item: Planted) -> str:
    """The share that was caught, and a line at the share that is asked for."""
    width, asked = 160, FEWEST_CAUGHT / PLANTED
    colour = "#2a5d9f" if item.enough else "#b3203a"
    return (
        f'<svg class=bar viewBox="0 0 {width} 12" role="img"><title>{item.caught} of {item.tried}</title>'
        f'<path d="M0 6H{width}" stroke="#e4e4e4" stroke-width="8"/>'
        f'<path d="M0 6H{width * item.caught / item.tried:.1f}" stroke="{colour}" stroke-width="8"/>'
        f'<path d="M{width * asked:.1f} 0v12" stroke="#222"/></svg>'
    )


def _row(report: Report, sample: Sample, pair: tuple[str, str] | None) -> str:
    cells = "".join(
        f'<td>{near.ratio:.2f}</td><td class="{"bad" if near.p <= report.threshold else ""}">{near.p:.2g}</td>'
        for near in sample.measures.values()
    )
    shown = (
        f'<td><img src="{pair[0]}" alt="drawn"></td><td><img src="{pair[1]}" alt="nearest training image"></td>'
        if pair
        else ""
    )
    said = "<b class=bad>suspected</b>" if sample.suspected else "not suspected"
    return f"<tr>{shown}<th>{escape(sample.name)}</th>{cells}<td>{said}</td></tr>"


def _strip(report: Report, name: str) -> str:
    """Scores on one measure: controls above the line, samples below; near is left."""
    controls = report.scores[name]
    drawn = [(_log(sample.measures[name].ratio), sample.measures[name].p) for sample in report.samples]
    low = max(min(*controls, *(value for value, _ in drawn)), min(controls) - 3.0)
    high = max(*controls, *(value for value, _ in drawn))
    span = (high - low) or 1.0

    def place(value: float) -> float:
        return 8 + (_WIDTH - 16) * min(max((value - low) / span, 0), 1)

    marks = "".join(f'<path d="M{place(value):.1f} 6v14" stroke="#888"/>' for value in controls)
    dots = "".join(
        f'<circle cx="{place(value):.1f}" cy="29" r="4.5" fill="{"#b3203a" if p <= report.threshold else "#2a5d9f"}"/>'
        for value, p in drawn
    )
    return (
        f"<figure><figcaption><b>{name}</b>: {escape(MEASURES[name])}</figcaption>"
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" font-size="10" fill="#555"><title>{name}</title>'
        f'<path d="M8 20H{_WIDTH - 8}" stroke="#ccc"/>{marks}{dots}<text x="8" y="44">nearer</text>'
        f'<text x="{_WIDTH - 8}" y="44" text-anchor="end">farther</text></svg></figure>'
    )


def _log(ratio: float) -> float:
    return math.log(max(ratio, 1e-9))


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>Copy check: @title@</title><style>@style@</style></head><body><main>@body@</main></body></html>
"""
_STYLE = """
*{box-sizing:border-box}body{margin:0;background:#fff;color:#222;font:15px/1.5 system-ui,sans-serif}
main{max-width:60rem;margin:0 auto;padding:1.5rem 1.2rem 3rem}
h1{margin:0 0 .8rem;font-size:1.5rem;overflow-wrap:anywhere}
h2{font-size:1rem;margin:1.4rem 0 .3rem}p{margin:.3rem 0 .7rem}.kicker{color:#666;font-size:.82rem}
.stays{background:#f4f4f4;padding:.5rem .8rem;border-radius:.3rem}.bad{color:#b3203a}
.verdict{border-left:.5rem solid;padding:.7rem 1rem;border-radius:.3rem}.verdict strong{font-size:1.35rem}
.verdict p{margin:.2rem 0 0}.copies-suspected{border-color:#b3203a;background:#fbeef0}
.no-copies-found{border-color:#2a5d9f;background:#eef3fa}.insufficient-evidence{border-color:#b07a10;background:#fdf6e6}
figure{margin:.8rem 0}figcaption{font-size:.85rem;color:#444}svg{width:100%;max-width:40rem}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.88rem;font-variant-numeric:tabular-nums}
th,td{text-align:left;vertical-align:middle;padding:.35rem .6rem .35rem 0;border-bottom:1px solid #e4e4e4}
thead th{font-weight:600;font-size:.8rem}tbody th{font-weight:600}
.power th{font-weight:400}.power .bar{width:10rem;display:block}
.facts th{width:15rem;font-weight:400;color:#555}
td img{width:7rem;height:7rem;object-fit:contain;image-rendering:pixelated;display:block}code{overflow-wrap:anywhere}
"""
