"""The learning curve: which series it shows, and where they lie in the SVG of the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from embhub.cards.evaluation import EvaluationReport, Figure
from embhub.pages import rendering

WIDTH, HEIGHT = 860.0, 380.0
_TOP, _BOTTOM, _LEFT, _SIDE, _GAP = 16.0, 92.0, 52.0, 352.0, 92.0
_COLOURS = ("#7a7a7a", "#d0384f", "#4a82c9", "#b4632c", "#5f7f4a", "#8f6aab")
_GRID, _AXIS, _INK = "#eeeeee", "#999999", "#444444"
_ALONE = "real only"


@dataclass(frozen=True)
class Series:
    """Figures that a line joins, in its order."""

    name: str
    colour: str
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class Panel:
    """AUC over how many images there are: `field` of each figure."""

    title: str
    field: Literal["real", "drawn"]
    series: tuple[Series, ...]

    @property
    def counts(self) -> list[int]:
        """The numbers of images that were measured, each once."""
        return sorted({self.count(one) for each in self.series for one in each.figures})

    def count(self, figure: Figure) -> int:
        """Where a figure stands on the axis of this panel."""
        return figure.real if self.field == "real" else figure.drawn


@dataclass(frozen=True)
class Line:
    """A polyline; `kind` is what the stylesheet calls it, empty for a series."""

    points: tuple[tuple[float, float], ...]
    colour: str
    width: float = 1.0
    kind: Literal["grid", "axis", ""] = ""


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


Shape = Line | Dot | Text


def panels(report: EvaluationReport) -> tuple[Panel, Panel]:
    """Left: AUC over the number of real images. Right: over the number of generated ones, with the most real images."""
    real, drawn = _over_real(report), _over_drawn(report)
    return (
        Panel("number of real images", "real", _coloured(real)),
        Panel("number of generated images", "drawn", _coloured(drawn)),
    )


def limits(both: Sequence[Panel]) -> tuple[float, float]:
    """Ends of the AUC axis: they hold every interval, 0.5 and 0.6."""
    figures = [figure for panel in both for series in panel.series for figure in series.figures]
    low = min([0.5, *(one.interval[0] for one in figures)])
    high = max([0.6, *(one.interval[1] for one in figures)])
    return max(0.0, int(low * 20) / 20), min(1.0, -int(-high * 20 // 1) / 20)


def to_svg(report: EvaluationReport) -> str:
    """The curve as SVG without script, font or address (`markupsafe.Markup`)."""
    found = list(_lay_out(panels(report)))
    return rendering.render(
        __package__,
        "curve.svg.j2",
        width=WIDTH,
        height=HEIGHT,
        ink=_INK,
        lines=[shape for shape in found if isinstance(shape, Line)],
        dots=[shape for shape in found if isinstance(shape, Dot)],
        texts=[shape for shape in found if isinstance(shape, Text)],
    )


def _lay_out(both: Sequence[Panel]) -> Iterator[Shape]:
    low, high = limits(both)
    for number, panel in enumerate(both):
        x = _LEFT + number * (_SIDE + _GAP)
        yield from _frame(x, low, high)
        yield from _draw_panel(x, panel, low, high)
        yield from _legend(panel, x)


def _shown(report: EvaluationReport) -> list[Figure]:
    """Those of the first regime, and of images of one kind alone: the tables have the others."""
    first = report.regimes[0]
    return [one for one in report.aucs if one.regime == (first if one.real and one.drawn else "mixed")]


def _over_real(report: EvaluationReport) -> list[tuple[str, tuple[Figure, ...]]]:
    found = [(_ALONE, _sorted(one for one in _shown(report) if not one.drawn))]
    for arm in report.arms:
        most = max((one.drawn for one in report.aucs if one.arm == arm.name), default=0)
        mine = _sorted(one for one in _shown(report) if one.arm == arm.name and one.drawn == most)
        if mine:
            found.append((f"+ {most} {_short(arm.name)}", mine))
    return found


def _over_drawn(report: EvaluationReport) -> list[tuple[str, tuple[Figure, ...]]]:
    most = max(one.real for one in report.aucs)
    alone = [one for one in _shown(report) if not one.drawn and one.real == most]
    found = []
    for arm in report.arms:
        beside = [one for one in _shown(report) if one.arm == arm.name and one.real == most]
        name = f"{_short(arm.name)} + {most} real" if most else _short(arm.name)
        found.append((name, _sorted([*alone, *beside])))
    for arm in report.arms[:1]:
        none = [one for one in _shown(report) if one.arm == arm.name and one.real == 0]
        if none and most:
            found.append((f"{_short(arm.name)} only", _sorted(none)))
    return found


def _sorted(figures: Iterator[Figure] | Sequence[Figure]) -> tuple[Figure, ...]:
    return tuple(sorted(figures, key=lambda one: (one.real, one.drawn)))


def _short(name: str) -> str:
    return name if len(name) <= 18 else f"{name[:17]}…"


def _coloured(found: Sequence[tuple[str, tuple[Figure, ...]]]) -> tuple[Series, ...]:
    """Grey is for real images only; an arm has the same colour in both panels."""
    first = 0 if found and found[0][0] == _ALONE else 1
    return tuple(
        Series(name, _COLOURS[(place + first) % len(_COLOURS)], figures) for place, (name, figures) in enumerate(found)
    )


def _frame(x: float, low: float, high: float) -> Iterator[Shape]:
    bottom = HEIGHT - _BOTTOM
    steps = round((high - low) * 20)
    for step in range(0, steps + 1, 2 if steps > 6 else 1):
        level = _y(low + step / 20, low, high)
        yield Line(((x, level), (x + _SIDE, level)), _GRID, kind="grid")
        yield Text(x - 6, level + 4, f"{low + step / 20:.2f}", "end")
    yield Line(((x, bottom), (x + _SIDE, bottom)), _AXIS, kind="axis")
    if low <= 0.5 <= high:
        level = _y(0.5, low, high)
        yield Line(((x, level), (x + _SIDE, level)), _AXIS, kind="axis")


def _draw_panel(x: float, panel: Panel, low: float, high: float) -> Iterator[Shape]:
    counts, bottom = panel.counts, HEIGHT - _BOTTOM
    places = {count: x + _SIDE * (place + 0.5) / max(1, len(counts)) for place, count in enumerate(counts)}
    for count, place in places.items():
        yield Text(place, bottom + 17, f"{count}")
    yield Text(x + _SIDE / 2, bottom + 36, f"AUC by {panel.title}" if counts else f"no {panel.title}")
    for number, each in enumerate(panel.series):
        shift = (number - (len(panel.series) - 1) / 2) * 7  # so that intervals stand beside each other
        points = [(places[panel.count(one)] + shift, _y(one.auc, low, high)) for one in each.figures]
        yield Line(tuple(points), each.colour, 1.6)
        for one, (px, py) in zip(each.figures, points, strict=True):
            yield Line(((px, _y(one.interval[0], low, high)), (px, _y(one.interval[1], low, high))), each.colour, 1.2)
            yield Dot(px, py, 3.2, each.colour)


def _legend(panel: Panel, x: float) -> Iterator[Shape]:
    for number, each in enumerate(panel.series[:4]):
        px, py = x + (number % 2) * 180, HEIGHT - 34 + (number // 2) * 18
        yield Line(((px, py - 4), (px + 18, py - 4)), each.colour, 2.4)
        yield Text(px + 24, py, each.name, "start")


def _y(value: float, low: float, high: float) -> float:
    inside = HEIGHT - _BOTTOM - _TOP
    return _TOP + inside * (1 - (min(max(value, low), high) - low) / (high - low))
