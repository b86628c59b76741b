"""The ranks that an attack gives as two histograms, one over the other: SVG without script, font or address."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from embhub.audits.attack_figures import AttackResult
from embhub.pages import rendering

INSIDE, OUTSIDE = "#d0384f", "#4a82c9"  # as .inside and .outside of page.css
_WIDTH, _HEIGHT = 320.0, 110.0


class Bar(NamedTuple):
    """A bin that holds members, in units of the drawing."""

    x: float
    y: float
    height: float


class Plot(NamedTuple):
    """Everything that the template shows."""

    name: str
    width: float
    height: float
    step: float
    bars: list[Bar]
    line: str
    inside: str
    outside: str


def draw(result: AttackResult) -> str:
    """Members filled, non-members as a line, as SVG (`markupsafe.Markup`)."""
    return rendering.render("embhub.evidence", "histogram.svg.j2", plot=lay_out(result))


def lay_out(result: AttackResult) -> Plot:
    """Where bars and line lie; heights are shares of a side, so that sides of unequal size compare."""
    members, others = map(np.asarray, result.ranks)
    places = int(max(members.max(), others.max())) + 1
    bins = min(places, max(8, min(30, int(np.sqrt(len(members) + len(others))))))
    edges = np.linspace(-0.5, places - 0.5, bins + 1)
    inside = np.histogram(members, edges)[0] / len(members)
    outside = np.histogram(others, edges)[0] / len(others)
    tallest = max(inside.max(), outside.max())
    step, scale = _WIDTH / bins, (_HEIGHT - 6) / tallest
    bars = [
        Bar(place * step, _HEIGHT - share * scale, share * scale)
        for place, share in enumerate(inside.tolist())
        if share
    ]
    line = " ".join(
        f"L{place * step:.1f} {_HEIGHT - share * scale:.1f}H{(place + 1) * step:.1f}"
        for place, share in enumerate(outside.tolist())
    )
    whole = f"M0 {_HEIGHT:g}{line}V{_HEIGHT:g}"
    return Plot(result.name, _WIDTH, _HEIGHT, step, bars, whole, INSIDE, OUTSIDE)
