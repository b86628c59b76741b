"""The root of a function of one number, by Brent's method: the one thing that audits would need scipy.optimize for.

R. P. Brent (1973), Algorithms for Minimization without Derivatives, chapter 4. The steps and tolerances are those of
`scipy.optimize.brentq`, so that figures are the same to the last bit; a test holds it to that. Importing scipy.optimize
takes longer than all else of `embhub verify`.
"""

from __future__ import annotations

from collections.abc import Callable

_RELATIVE = 4 * 2.0**-52
_MOST_STEPS = 100


def find_root(function: Callable[[float], float], low: float, high: float, *, tolerance: float = 2e-12) -> float:
    """A root between `low` and `high`, where the function has opposite signs, to within `tolerance`.

    Raises:
        ValueError: equal signs, or no end after 100 steps.
    """
    before, here = low, high
    value_before, value_here = function(before), function(here)
    if value_before == 0:
        return before
    if value_here == 0:
        return here
    if value_before * value_here > 0:
        raise ValueError("the function has the same sign at both ends")
    other = value_other = last_step = step = 0.0
    for _ in range(_MOST_STEPS):
        if value_before != 0 and value_here != 0 and (value_before < 0) != (value_here < 0):
            other, value_other = before, value_before
            last_step = step = here - before
        if abs(value_other) < abs(value_here):
            before, here, other = here, other, here
            value_before, value_here, value_other = value_here, value_other, value_here
        least = (tolerance + _RELATIVE * abs(here)) / 2
        half = (other - here) / 2
        if value_here == 0 or abs(half) < least:
            return here
        if abs(last_step) > least and abs(value_here) < abs(value_before):
            if before == other:  # a secant through two points, else a parabola through three
                trial = -value_here * (here - before) / (value_here - value_before)
            else:
                slope = (value_before - value_here) / (before - here)
                other_slope = (value_other - value_here) / (other - here)
                bend = value_other * other_slope - value_before * slope
                trial = -value_here * bend / (other_slope * slope * (value_other - value_before))
            short = 2 * abs(trial) < min(abs(last_step), 3 * abs(half) - least)
            last_step, step = (step, trial) if short else (half, half)
        else:
            last_step = step = half
        before, value_before = here, value_here
        here += step if abs(step) > least else least if half > 0 else -least
        value_here = function(here)
    raise ValueError(f"no root after {_MOST_STEPS} steps")
