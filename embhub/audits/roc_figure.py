"""ROC curves of an audit as one SVG drawing with its legend: no script, no font and no address outside the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from embhub.audits import statistics
from embhub.audits.attack_figures import AttackResult
from embhub.pages import rendering

_SIDE, _LEFT, _TOP, _RIGHT, _BOTTOM = 300.0, 56.0, 10.0, 20.0, 40.0
_NEAR = 30.0  # labels nearer to each other than this would overlap
_COLOURS = (  # at least 3 to 1 against a white and against a dark page (WCAG 2.2, 1.4.11)
    *("#4a82c9", "#b4632c", "#5f7f4a", "#8f6aab", "#4e8b8b", "#8c7a2b", "#7a7a7a", "#c2609a", "#5f93d1", "#a5603f"),
    *("#8f9a3a", "#7f6cc0", "#3b8a6b", "#8f86b0"),
)
DECIDING_COLOUR = "#d0384f"
_GUESSING = ("#8a8a8a", "3 4")  # colour and dashes
_ROW = 15.0  # height of a line of the legend


class Curve(NamedTuple):
    """One attack's place in the drawing and in its legend."""

    result: AttackResult
    colour: str


class Tick(NamedTuple):
    """A grid line: where it lies on its axis, and its label."""

    place: float
    label: str


class Line(NamedTuple):
    """A polyline; no dashes where `dashes` is empty."""

    points: str
    colour: str
    width: float
    dashes: str


class Entry(NamedTuple):
    """A line of the legend, its top at `y`."""

    y: float
    colour: str
    dashes: str
    text: str


class Plot(NamedTuple):
    """Everything that the template shows, in units of the drawing."""

    width: float
    height: float
    left: float
    top: float
    side: float
    bottom: float
    title: str
    rates: list[Tick]
    alarms: list[Tick]
    lines: list[Line]
    legend: list[Entry]


def assign(results: Sequence[AttackResult], deciding: str) -> list[Curve]:
    """Colours by order, the attack that decided first and in its own colour; only attacks on coins have a curve."""
    ordered = sorted((result for result in results if result.on_coins), key=lambda result: result.name != deciding)
    return [
        Curve(result, DECIDING_COLOUR if result.name == deciding else _COLOURS[(place - 1) % len(_COLOURS)])
        for place, result in enumerate(ordered)
    ]


def draw(results: Sequence[AttackResult], deciding: str, *, log: bool = False, both: bool = False) -> str:
    """The curves of these attacks as SVG; text in it is escaped.

    Args:
        results: the attacks; the curve of one on coins follows from the order of labels, others have none.
        deciding: the name of the attack that decided the verdict.
        log: a logarithmic false-positive axis, from one false positive among the non-members: it shows attacks that
            find few members but hardly ever err.
        both: a logarithmic true-positive axis as well, from one member found.

    Returns:
        An SVG element (`markupsafe.Markup`); nothing where no attack has a curve.
    """
    if not any(result.on_coins for result in results):
        return ""
    return rendering.render(__package__, "roc.svg.j2", plot=lay_out(results, deciding, log=log, both=both))


def lay_out(results: Sequence[AttackResult], deciding: str, *, log: bool = False, both: bool = False) -> Plot:
    """Where everything in the drawing lies; arguments as for `draw`."""
    curves = assign(results, deciding)
    log = log or both
    least = 1.0 / max(2, len(curves[0].result.ranks.nonmembers)) if log else 0.0
    fewest = 1.0 / max(2, len(curves[0].result.ranks.members)) if both else 0.0
    bottom = _TOP + _SIDE + _BOTTOM
    legend = _list_legend(curves, deciding, bottom)
    kind = "two logarithmic axes" if both else "logarithmic false-positive axis" if log else "linear axes"
    guessing = Line(_trace([(x, x) for x in _grid(least)], least, fewest), _GUESSING[0], 1.0, _GUESSING[1])
    return Plot(
        width=_LEFT + _SIDE + _RIGHT,
        height=bottom + _ROW * len(legend) + 4,
        left=_LEFT,
        top=_TOP,
        side=_SIDE,
        bottom=bottom,
        title=f"ROC curves of the attacks on coins, {kind}",
        rates=[Tick(_vertical(share, fewest), f"{share * 100:.4g}%") for share in _shares(fewest)],
        alarms=_thin([Tick(_horizontal(share, least), f"{share * 100:.4g}%") for share in _shares(least)]),
        lines=[guessing, *(_line(curve, curve.result.name == deciding, least, fewest) for curve in reversed(curves))],
        legend=legend,
    )


def _line(curve: Curve, decided: bool, least: float, fewest: float) -> Line:
    alarms, hits = statistics.roc(*curve.result.ranks)
    points = list(zip(alarms.tolist(), hits.tolist(), strict=True))
    trace = _trace(_from_left_edge(points, least), least, fewest)
    return Line(trace, curve.colour, 2.4 if decided else 1.3, "")


def _list_legend(curves: Sequence[Curve], deciding: str, top: float) -> list[Entry]:
    """A line for each curve, and one for guessing."""
    shown = [
        (curve.colour, "", curve.result.name + " (decided the verdict)" * (curve.result.name == deciding))
        for curve in curves
    ]
    shown.append((*_GUESSING, "guessing"))
    return [Entry(top + _ROW * place, *entry) for place, entry in enumerate(shown)]


def _thin(ticks: list[Tick]) -> list[Tick]:
    """Without the labels that would overlap the next one; the last keeps its own."""
    kept: list[Tick] = []
    for tick in reversed(ticks):
        labelled = [other.place for other in kept if other.label]
        kept.append(tick if not labelled or labelled[-1] - tick.place >= _NEAR else tick._replace(label=""))
    return kept[::-1]


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


def _trace(points: list[tuple[float, float]], least: float, fewest: float) -> str:
    """The points of a polyline, without those that nobody would see."""
    drawn: list[tuple[float, float]] = []
    for number, (alarm, hit) in enumerate(points):
        x, y = _horizontal(alarm, least), _vertical(hit, fewest)
        near = bool(drawn) and abs(x - drawn[-1][0]) + abs(y - drawn[-1][1]) < 0.3
        if not near or number == len(points) - 1:
            drawn.append((x, y))
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in drawn)


def _horizontal(share: float, least: float) -> float:
    place = 1 - math.log(max(share, least)) / math.log(least) if least else share
    return _LEFT + _SIDE * place


def _vertical(share: float, fewest: float) -> float:
    place = math.log(max(share, fewest)) / math.log(fewest) if fewest else 1 - share
    return _TOP + _SIDE * place
