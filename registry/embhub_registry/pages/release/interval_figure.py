"""An AUC with its interval on one line, from guessing to certainty: a drawing without script, style or address."""

from __future__ import annotations

from embhub.audits import epsilon_gauge
from embhub_registry.pages.release.page_facts import Audit

_LEFT, _WIDTH, _HEIGHT = 14.0, 300.0, 66.0


def of(shown: Audit) -> str:
    """The figure of a report: where canaries tried a claim, the epsilon that they showed; else the AUC."""
    if shown.claimed is not None:
        return epsilon_gauge.draw(shown.shown_epsilon, shown.claimed)
    return draw(shown.auc, shown.interval, shown.smallest_auc)


def draw(auc: float, interval: tuple[float, float], smallest: float) -> str:
    """SVG of the interval; the dashed line is guessing, the triangle the smallest leak that the audit would see."""
    low, high = interval
    label = (
        f"AUC {auc:.2f}, 95 percent interval {low:.2f} to {high:.2f}; 0.50 is guessing, 0.00 and 1.00 are certainty;"
        f" the smallest leak this audit would see is {smallest:.2f}"
    )
    y = 26.0
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH + 2 * _LEFT:g} {_HEIGHT:g}" role="img"'
        f' font-family="inherit" font-size="11" fill="#444" class="interval"><title>{label}</title>',
        f'<path d="M{_LEFT:g} {y:g}h{_WIDTH:g}" stroke="#bbb"/>',
        f'<path d="M{_x(0.5):.1f} 8v36" stroke="#666" stroke-dasharray="3 3"/>',
        f'<path d="M{_x(low):.1f} {y:g}H{_x(high):.1f}" stroke="#b3203a" stroke-width="5" stroke-linecap="round"/>',
        f'<circle cx="{_x(auc):.1f}" cy="{y:g}" r="6" fill="#fff" stroke="#b3203a" stroke-width="3"/>',
        f'<path d="M{_x(smallest):.1f} 36l-5 8h10z" fill="#2a5d9f"/>',
    ]
    for value, words in ((0.0, "0"), (0.5, "0.5 guessing"), (1.0, "1")):
        anchor = {0.0: "start", 1.0: "end"}.get(value, "middle")
        parts.append(f'<text x="{_x(value):.1f}" y="60" text-anchor="{anchor}">{words}</text>')
    return "".join([*parts, "</svg>"])


def _x(value: float) -> float:
    return _LEFT + _WIDTH * max(0.0, min(1.0, value))
