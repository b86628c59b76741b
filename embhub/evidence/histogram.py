"""Places in the order of an attack as two histograms, one over the other: SVG without script, font or address."""

from __future__ import annotations

from html import escape

import numpy as np

from embhub.audits.attack_figures import AttackResult

INSIDE, OUTSIDE = "#b3203a", "#2a5d9f"
_WIDTH, _HEIGHT, _BOTTOM = 320.0, 110.0, 22.0


def draw(result: AttackResult) -> str:
    """Members filled, the others as a line; heights are shares of a side, so that sides of unequal size compare."""
    members, others = map(np.asarray, result.ranks)
    places = int(max(members.max(), others.max())) + 1
    bins = min(places, max(8, min(30, int(np.sqrt(len(members) + len(others))))))
    edges = np.linspace(-0.5, places - 0.5, bins + 1)
    inside = np.histogram(members, edges)[0] / len(members)
    outside = np.histogram(others, edges)[0] / len(others)
    tallest = max(inside.max(), outside.max())
    step, scale = _WIDTH / bins, (_HEIGHT - 6) / tallest
    bars = "".join(
        f'<rect x="{place * step:.1f}" y="{_HEIGHT - share * scale:.1f}" width="{step:.1f}"'
        f' height="{share * scale:.1f}"/>'
        for place, share in enumerate(inside)
        if share
    )
    line = " ".join(
        f"L{place * step:.1f} {_HEIGHT - share * scale:.1f}H{(place + 1) * step:.1f}"
        for place, share in enumerate(outside)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH:g} {_HEIGHT + _BOTTOM:g}" role="img"'
        ' class="scores" font-family="inherit" font-size="11" fill="#444">'
        f"<title>Order of {escape(result.name)}: inside (filled), outside (line)</title>"
        f'<g fill="{INSIDE}" fill-opacity=".3">{bars}</g>'
        f'<path d="M0 {_HEIGHT:g}{line}V{_HEIGHT:g}" fill="none" stroke="{OUTSIDE}" stroke-width="1.5"/>'
        f'<path d="M0 {_HEIGHT:g}h{_WIDTH:g}" stroke="#999"/>'
        f'<text x="{_WIDTH / 2:g}" y="{_HEIGHT + 15:g}" text-anchor="middle">more like those inside →</text>'
        "</svg>"
    )
