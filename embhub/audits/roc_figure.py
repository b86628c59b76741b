"""ROC curves of an audit as one SVG drawing with its legend: no script, no font and no address outside the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from embhub.audits import statistics
from embhub.audits.attack_figures import AttackResult

_SIDE, _LEFT, _TOP, _RIGHT, _BOTTOM = 300.0, 46.0, 10.0, 20.0, 40.0
_COLOURS = (
    *("#2a5d9f", "#b4632c", "#5f7f4a", "#7d5a94", "#4e8b8b", "#8c7a2b", "#3d3d3d", "#c06a9a", "#6f9bd1", "#8a4b32"),
    *("#9aa64a", "#55427a", "#2f6b57", "#a08fb5"),
)
DECIDING_COLOUR = "#b3203a"
_ROW = 15.0  # height of a line of the legend


class Curve(NamedTuple):
    """One attack's place in the drawing and in its legend."""

    result: AttackResult
    colour: str
    dashed: bool


def assign(results: Sequence[AttackResult], deciding: str) -> list[Curve]:
    """Colours by order, the attack that decided first and in its own colour; baselines are dashed."""
    ordered = sorted(results, key=lambda result: result.name != deciding)
    return [
        Curve(
            result, DECIDING_COLOUR if not place else _COLOURS[(place - 1) % len(_COLOURS)], result.kind == "baseline"
        )
        for place, result in enumerate(ordered)
    ]


def draw(results: Sequence[AttackResult], deciding: str, *, log: bool = False, both: bool = False) -> str:
    """The curves of these attacks; `log` stretches the false-positive axis, where a few betrayed patients show.

    Every curve follows from the order of labels. `deciding` names the attack that decided the verdict. The logarithmic
    axis starts at one false alarm among its non-members: below it there is nothing to see. `both` stretches the axis of
    members found as well, from one member found.
    """
    curves = assign(results, deciding)
    log = log or both
    least = 1.0 / max(2, len(curves[0].result.ranks.nonmembers)) if log else 0.0
    fewest = 1.0 / max(2, len(curves[0].result.ranks.members)) if both else 0.0
    width, plot = _LEFT + _SIDE + _RIGHT, _TOP + _SIDE + _BOTTOM
    legend = _draw_legend(curves, plot)
    height = plot + _ROW * len(legend) + 4
    kind = "two logarithmic axes" if both else "logarithmic false-positive axis" if log else "linear axes"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img" class="roc"'
        ' font-family="inherit" font-size="11" fill="#444">',
        f"<title>ROC curve of {escape(deciding)}, which decided, and of the others, {kind}</title>",
        f'<rect x="{_LEFT:g}" y="{_TOP:g}" width="{_SIDE:g}" height="{_SIDE:g}" fill="#fff" stroke="#bbb"/>',
        *_ticks(least, fewest),
        _polyline([(x, x) for x in _grid(least)], least, fewest, "#999", 'stroke-dasharray="3 4"'),
    ]
    for curve in reversed(curves):  # the deciding one last, on top
        alarms, hits = statistics.roc(*curve.result.ranks)
        points = list(zip(alarms.tolist(), hits.tolist(), strict=True))
        style = f'stroke-width="{2.4 if curve is curves[0] else 1.3}"' + (
            ' stroke-dasharray="6 3"' if curve.dashed else ""
        )
        parts.append(_polyline(_from_left_edge(points, least), least, fewest, curve.colour, style))
    middle = _LEFT + _SIDE / 2
    parts += [
        f'<text x="{middle:g}" y="{plot - 6:g}" text-anchor="middle">others wrongly taken for members</text>',
        f'<text x="12" y="{_TOP + _SIDE / 2:g}" text-anchor="middle"'
        f' transform="rotate(-90 12 {_TOP + _SIDE / 2:g})">members found</text>',
        *legend,
        "</svg>",
    ]
    return "".join(parts)


def _draw_legend(curves: Sequence[Curve], top: float) -> list[str]:
    """A line for each curve, and one for guessing."""
    lines = [
        (curve.colour, "6 3" if curve.dashed else "none", curve.result.name + _remark(place, curve.dashed))
        for place, curve in enumerate(curves)
    ]
    lines.append(("#999", "3 4", "guessing"))
    return [
        f'<g><path d="M{_LEFT:g} {top + _ROW * place + 6:g}h22" stroke="{colour}" stroke-width="2.4"'
        f' stroke-dasharray="{dashes}"/>'
        f'<text x="{_LEFT + 30:g}" y="{top + _ROW * place + 10:g}">{escape(text)}</text></g>'
        for place, (colour, dashes, text) in enumerate(lines)
    ]


def _remark(place: int, baseline: bool) -> str:
    return " (decided the verdict)" if place == 0 else " (checks the split)" if baseline else ""


def _ticks(least: float, fewest: float) -> list[str]:
    marks = []
    for share in _shares(fewest):
        y = _vertical(share, fewest)
        marks.append(f'<path d="M{_LEFT:g} {y:.1f}h{_SIDE:g}" stroke="#eee"/>')
        marks.append(f'<text x="{_LEFT - 6:g}" y="{y + 4:.1f}" text-anchor="end">{share * 100:.4g}%</text>')
    for share in _shares(least):
        x = _horizontal(share, least)
        marks.append(f'<path d="M{x:.1f} {_TOP:g}v{_SIDE:g}" stroke="#eee"/>')
        marks.append(f'<text x="{x:.1f}" y="{_TOP + _SIDE + 15:g}" text-anchor="middle">{share * 100:.4g}%</text>')
    return marks


def _shares(least: float) -> list[float]:
    if not least:
        return [0.0, 0.25, 0.5, 0.75, 1.0]
    steps = [digit * 10.0**power for power in range(-6, 0) for digit in (1, 2, 5)]
    return [share for share in [*steps, 1.0] if share >= least]


def _grid(least: float) -> list[float]:
    return [least ** (1 - step / 40) for step in range(41)] if least else [0.0, 1.0]


def _from_left_edge(points: list[tuple[float, float]], least: float) -> list[tuple[float, float]]:
    """On a logarithmic axis what lies left of the edge becomes a start on the edge."""
    if not least:
        return points
    hidden = [hit for alarm, hit in points if alarm < least]
    return [(least, max(hidden, default=0.0)), *((alarm, hit) for alarm, hit in points if alarm >= least)]


def _polyline(points: list[tuple[float, float]], least: float, fewest: float, colour: str, style: str) -> str:
    drawn: list[tuple[float, float]] = []
    for number, (alarm, hit) in enumerate(points):
        x, y = _horizontal(alarm, least), _vertical(hit, fewest)
        near = bool(drawn) and abs(x - drawn[-1][0]) + abs(y - drawn[-1][1]) < 0.3
        if not near or number == len(points) - 1:
            drawn.append((x, y))
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in drawn)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-linejoin="round" {style}/>'


def _horizontal(share: float, least: float) -> float:
    place = 1 - math.log(max(share, least)) / math.log(least) if least else share
    return _LEFT + _SIDE * place


def _vertical(share: float, fewest: float) -> float:
    place = math.log(max(share, fewest)) / math.log(fewest) if fewest else 1 - share
    return _TOP + _SIDE * place
