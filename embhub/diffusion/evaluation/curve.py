"""The learning curve as shapes, and the shapes as SVG for the page or as pixels for a file: one drawing, two forms."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from PIL import Image, ImageDraw, ImageFont

from embhub.cards.evaluation import EvaluationReport, Figure

WIDTH, HEIGHT = 860.0, 380.0
_TOP, _BOTTOM, _LEFT, _SIDE, _GAP = 16.0, 92.0, 52.0, 352.0, 92.0
_COLOURS = ("#222222", "#b3203a", "#2a5d9f", "#b4632c", "#5f7f4a", "#7d5a94")
_GREY, _FAINT, _INK = "#999999", "#eeeeee", "#444444"
_SCALE = 2  # pixels of the PNG for each unit


@dataclass(frozen=True)
class Line:
    """A polyline."""

    points: tuple[tuple[float, float], ...]
    colour: str
    width: float = 1.0


@dataclass(frozen=True)
class Dot:
    """A filled circle."""

    x: float
    y: float
    radius: float
    colour: str


@dataclass(frozen=True)
class Text:
    """One line of text; `anchor` is start, middle or end, `y` the base line."""

    x: float
    y: float
    words: str
    anchor: str = "middle"
    colour: str = _INK


Shape = Line | Dot | Text


@dataclass(frozen=True)
class _Series:
    name: str
    figures: tuple[Figure, ...]


def shapes(report: EvaluationReport) -> list[Shape]:
    """Left: AUC over the number of real images. Right: over the number of drawn ones, with the most real images."""
    left, right = _over_real(report), _over_drawn(report)
    low, high = _limits([figure for series in (*left, *right) for figure in series.figures])
    found: list[Shape] = []
    panels = ((_LEFT, left, "real images", "real"), (_LEFT + _SIDE + _GAP, right, "drawn images beside them", "drawn"))
    for x, series, title, field in panels:
        found += _frame(x, low, high)
        found += _panel(x, series, title, field, low, high)
    found += _legend(left, _LEFT, _first_colours(left))
    found += _legend(right, _LEFT + _SIDE + _GAP, _first_colours(right))
    return found


def to_svg(drawing: Sequence[Shape]) -> str:
    """SVG without script, font or address."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" class="curve"'
        ' font-family="inherit" font-size="12"><title>Learning curves</title>'
    ]
    for shape in drawing:
        if isinstance(shape, Line):
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in shape.points)
            parts.append(
                f'<polyline points="{points}" fill="none" stroke="{shape.colour}" stroke-width="{shape.width:g}"/>'
            )
        elif isinstance(shape, Dot):
            parts.append(f'<circle cx="{shape.x:.1f}" cy="{shape.y:.1f}" r="{shape.radius:g}" fill="{shape.colour}"/>')
        else:
            parts.append(
                f'<text x="{shape.x:.1f}" y="{shape.y:.1f}" text-anchor="{shape.anchor}" fill="{shape.colour}">'
                f"{escape(shape.words)}</text>"
            )
    return "".join([*parts, "</svg>"])


def to_png(drawing: Sequence[Shape]) -> bytes:
    """The same as a PNG, drawn at twice the size and smoothed."""
    fine = 2 * _SCALE
    image = Image.new("RGB", (int(WIDTH * fine), int(HEIGHT * fine)), "white")
    canvas = ImageDraw.Draw(image)
    for shape in drawing:
        if isinstance(shape, Line):
            scaled = [(x * fine, y * fine) for x, y in shape.points]
            canvas.line(scaled, fill=shape.colour, width=max(1, round(shape.width * fine)), joint="curve")
        elif isinstance(shape, Dot):
            x, y, radius = shape.x * fine, shape.y * fine, shape.radius * fine
            canvas.ellipse((x - radius, y - radius, x + radius, y + radius), fill=shape.colour)
    image = image.resize((int(WIDTH * _SCALE), int(HEIGHT * _SCALE)), Image.Resampling.LANCZOS)
    canvas, font = ImageDraw.Draw(image), ImageFont.load_default(12 * _SCALE)
    for shape in drawing:
        if isinstance(shape, Text):
            anchor = {"start": "ls", "middle": "ms", "end": "rs"}[shape.anchor]
            canvas.text((shape.x * _SCALE, shape.y * _SCALE), shape.words, fill=shape.colour, font=font, anchor=anchor)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _over_real(report: EvaluationReport) -> list[_Series]:
    found = [_Series("real alone", _sorted(one for one in report.aucs if not one.drawn))]
    for arm in report.arms:
        most = max((one.drawn for one in report.aucs if one.arm == arm.name), default=0)
        mine = _sorted(one for one in report.aucs if one.arm == arm.name and one.drawn == most)
        if mine:
            found.append(_Series(f"and {most} of {_short(arm.name)}", mine))
    return found


def _over_drawn(report: EvaluationReport) -> list[_Series]:
    most = max(one.real for one in report.aucs)
    alone = [one for one in report.aucs if not one.drawn and one.real == most]
    found = []
    for arm in report.arms:
        beside = [one for one in report.aucs if one.arm == arm.name and one.real == most]
        found.append(
            _Series(f"{_short(arm.name)}, {most} real" if most else _short(arm.name), _sorted([*alone, *beside]))
        )
    for arm in report.arms[:1]:
        none = [one for one in report.aucs if one.arm == arm.name and one.real == 0]
        if none and most:
            found.append(_Series(f"{_short(arm.name)} alone", _sorted(none)))
    return found


def _sorted(figures: Iterator[Figure] | Sequence[Figure]) -> tuple[Figure, ...]:
    return tuple(sorted(figures, key=lambda one: (one.real, one.drawn)))


def _short(name: str) -> str:
    return name if len(name) <= 18 else f"{name[:17]}…"


def _first_colours(series: Sequence[_Series]) -> list[str]:
    own = series and series[0].name == "real alone"
    return [_COLOURS[(place + (0 if own else 1)) % len(_COLOURS)] for place in range(len(series))]


def _limits(figures: Sequence[Figure]) -> tuple[float, float]:
    low = min([0.5, *(one.interval[0] for one in figures)])
    high = max([0.6, *(one.interval[1] for one in figures)])
    return max(0.0, int(low * 20) / 20), min(1.0, -int(-high * 20 // 1) / 20)


def _frame(x: float, low: float, high: float) -> Iterator[Shape]:
    bottom = HEIGHT - _BOTTOM
    steps = round((high - low) * 20)
    for step in range(0, steps + 1, 2 if steps > 6 else 1):
        level = _y(low + step / 20, low, high)
        yield Line(((x, level), (x + _SIDE, level)), _FAINT)
        yield Text(x - 6, level + 4, f"{low + step / 20:.2f}", "end")
    yield Line(((x, bottom), (x + _SIDE, bottom)), _GREY)
    if low <= 0.5 <= high:
        level = _y(0.5, low, high)
        yield Line(((x, level), (x + _SIDE, level)), _GREY)


def _panel(x: float, series: Sequence[_Series], title: str, field: str, low: float, high: float) -> Iterator[Shape]:
    counts = sorted({int(getattr(one, field)) for each in series for one in each.figures})
    bottom = HEIGHT - _BOTTOM
    places = {count: x + _SIDE * (place + 0.5) / max(1, len(counts)) for place, count in enumerate(counts)}
    for count, place in places.items():
        yield Text(place, bottom + 17, f"{count}")
    yield Text(x + _SIDE / 2, bottom + 36, f"AUC over {title}" if counts else f"no {title}")
    for number, (each, colour) in enumerate(zip(series, _first_colours(series), strict=True)):
        shift = (number - (len(series) - 1) / 2) * 7  # so that intervals stand beside each other
        points = [(places[int(getattr(one, field))] + shift, _y(one.auc, low, high)) for one in each.figures]
        yield Line(tuple(points), colour, 1.6)
        for one, (px, py) in zip(each.figures, points, strict=True):
            yield Line(((px, _y(one.interval[0], low, high)), (px, _y(one.interval[1], low, high))), colour, 1.2)
            yield Dot(px, py, 3.2, colour)


def _legend(series: Sequence[_Series], x: float, colours: Sequence[str]) -> Iterator[Shape]:
    for number, (each, colour) in enumerate(zip(series[:4], colours, strict=False)):
        px, py = x + (number % 2) * 180, HEIGHT - 34 + (number // 2) * 18
        yield Line(((px, py - 4), (px + 18, py - 4)), colour, 2.4)
        yield Text(px + 24, py, each.name, "start")


def _y(value: float, low: float, high: float) -> float:
    inside = HEIGHT - _BOTTOM - _TOP
    return _TOP + inside * (1 - (min(max(value, low), high) - low) / (high - low))
