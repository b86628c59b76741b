"""The epsilon that canaries showed on one line, whose end is the claim: a drawing without script, style or address."""

from __future__ import annotations

_LEFT, _WIDTH = 14.0, 300.0


def draw(shown: float, claimed: float) -> str:
    """SVG of the gauge.

    Args:
        shown: the largest epsilon that guessing made-up units refuted; 0 for none.
        claimed: the epsilon of the privacy claim.
    """
    label = f"guessing showed an epsilon of at least {shown:.2f}; the claim allows {claimed:.2f}"
    place = _LEFT + _WIDTH * max(0.0, min(1.0, shown / claimed))
    return "".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH + 2 * _LEFT:g} 58" role="img"'
            f' font-family="inherit" font-size="11" fill="#444" class="interval"><title>{label}</title>',
            f'<path d="M{_LEFT:g} 20h{_WIDTH:g}" stroke="#bbb"/>',
            f'<path d="M{_LEFT:g} 20H{place:.1f}" stroke="#2a5d9f" stroke-width="5" stroke-linecap="round"/>',
            f'<circle cx="{place:.1f}" cy="20" r="6" fill="#fff" stroke="#2a5d9f" stroke-width="3"/>',
            f'<path d="M{_LEFT + _WIDTH:g} 6v28" stroke="#444" stroke-width="3"/>',
            f'<text x="{_LEFT:g}" y="52">epsilon 0</text>',
            f'<text x="{_LEFT + _WIDTH:g}" y="52" text-anchor="end">{claimed:.2f} claimed</text></svg>',
        ]
    )
