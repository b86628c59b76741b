"""RDP curves on one fixed grid of orders: composition, conversion to (epsilon, delta), groups, an attack's gain.

A curve is a tuple of floats, one for each of ORDERS; infinity where an order gives no bound. Curves of mechanisms that
saw the same unit add up (Mironov 2017, "Rényi Differential Privacy", arXiv 1702.07476, proposition 1).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache

from embhub.privacy.sampled_gaussian import rounding_slack, sampled_gaussian_rdp

# Opacus's default orders, and larger ones for the small losses of single shots.
ORDERS: tuple[float, ...] = (
    *(round(1 + tenth / 10, 1) for tenth in range(1, 100)),
    *map(float, range(12, 64)),
    *(64.0, 80.0, 96.0, 128.0, 192.0, 256.0, 384.0, 512.0),
)
Curve = tuple[float, ...]

NOTHING: Curve = (0.0,) * len(ORDERS)
EVERYTHING: Curve = (math.inf,) * len(ORDERS)
_DIGITS = 6  # significant digits of a published curve
_GUARD = 1e-9  # relative: arithmetic of another machine may differ in its last digits


@lru_cache(maxsize=4096)
def gaussian_curve(*, q: float, sigma: float, steps: int) -> Curve:
    """RDP of `steps` steps of the Gaussian mechanism, each on a fresh Poisson sample; never below the true curve.

    Args:
        q: sampling rate; 1 for a mechanism that reads every unit.
        sigma: noise multiplier.
        steps: how many, 0 for none.

    Raises:
        ValueError: an argument out of its range.
    """
    if steps < 0:
        raise ValueError(f"{steps} steps cannot be taken")
    if steps == 0:
        return NOTHING
    return tuple(
        sampled_gaussian_rdp(q=q, sigma=sigma, order=order) * steps + rounding_slack(order, steps=steps)
        for order in ORDERS
    )


def compose(curves: Iterable[Curve]) -> Curve:
    """The curve of everything together, rounded so that the sum is never below the true one."""
    parts = list(curves)
    if len(parts) < 2:
        return parts[0] if parts else NOTHING
    return tuple(
        math.nextafter(math.fsum(values), math.inf) if any(values) else 0.0 for values in zip(*parts, strict=True)
    )


def worst_of(curves: Iterable[Curve]) -> Curve:
    """The pointwise maximum: a bound for whichever of several units one asks about."""
    parts = list(curves)
    return tuple(max(values) for values in zip(*parts, strict=True)) if parts else NOTHING


def epsilon_of(curve: Sequence[float], *, delta: float, orders: Sequence[float] = ORDERS) -> float:
    """The epsilon of (epsilon, delta)-differential privacy that a curve implies; infinite where it implies none.

    Canonne, Kamath and Steinke 2020, "The Discrete Gaussian for Differential Privacy" (arXiv 2004.00010), proposition
    12, which Opacus uses as well.

    Raises:
        ValueError: delta is not between 0 and 1, or curve and orders differ in length.
    """
    if not 0.0 < delta < 1.0:
        raise ValueError(f"delta {delta} is not between 0 and 1")
    if not any(curve):
        return 0.0
    bounds = [
        rdp + math.log1p(-1 / order) - (math.log(delta) + math.log(order)) / (order - 1)
        for order, rdp in zip(orders, curve, strict=True)
    ]
    return max(0.0, min(bounds))


def group_epsilon(curve: Curve, *, size: int, delta: float) -> float:
    """The epsilon for `size` units together, from the curve for one unit alone; see `group_curve`.

    Raises:
        ValueError: `size` is below 1, or delta not between 0 and 1.
    """
    return epsilon_of(group_curve(curve, size=size), delta=delta)


def group_curve(curve: Curve, *, size: int) -> Curve:
    """The curve for `size` units together, from the curve for one unit alone.

    Mironov 2017 (arXiv 1702.07476), proposition 2: for 2^c units the loss at order a / 2^c is at most 3^c times that
    at order a, where a / 2^c >= 2. It needs no knowledge of the mechanism, and so is an upper bound, seldom the truth.
    A size between two powers of two is taken as the larger.

    Raises:
        ValueError: `size` is below 1.
    """
    if size < 1:
        raise ValueError(f"{size} units are no group")
    doublings = (size - 1).bit_length()
    if doublings == 0 or not any(curve):
        return curve
    return tuple(3**doublings * at_order(curve, order * 2**doublings) if order >= 2.0 else math.inf for order in ORDERS)


def at_order(curve: Curve, order: float) -> float:
    """An upper bound of the RDP at any order: (a - 1) D_a is convex in a, so a chord lies above it.

    Infinite above the largest order of the grid.
    """
    if order < ORDERS[0]:
        return curve[0]  # RDP grows with the order
    for low, high, below, above in zip(ORDERS, ORDERS[1:], curve, curve[1:], strict=False):
        if order == low:
            return below
        if order < high:
            share = (order - low) / (high - low)
            return ((1 - share) * (low - 1) * below + share * (high - 1) * above) / (order - 1)
    return curve[-1] if order == ORDERS[-1] else math.inf


def largest_tpr(epsilon: float, *, delta: float, fpr: float) -> float:
    """The largest true-positive rate at this false-positive rate of any attack on an (epsilon, delta) mechanism.

    Kairouz, Oh and Viswanath 2015 (arXiv 1311.0776), the trade-off region of (epsilon, delta)-differential privacy.
    """
    if math.isinf(epsilon):
        return 1.0
    one = math.exp(min(epsilon, 700.0)) * fpr + delta
    other = 1 - math.exp(-epsilon) * (1 - delta - fpr)
    return min(one, other, 1.0)


def publish(curve: Curve) -> Curve:
    """A curve as it is written down: each value rounded up to six digits, so that it stays a bound.

    The guard makes two machines whose last digits differ write the same number but in rare cases; `supports` takes
    both.
    """
    return tuple(_round_up(value) for value in curve)


def unstate(curve: Sequence[float | None]) -> Curve:
    """A curve as a claim states it, as a curve: None is infinite."""
    return tuple(math.inf if value is None else value for value in curve)


def supports(stated: Sequence[float | None], actual: Curve) -> bool:
    """Whether a published curve is that of a mechanism: nowhere below the truth, and no more above it than rounding."""
    if len(stated) != len(actual):
        return False
    for said, value in zip(stated, actual, strict=True):
        if said is None or math.isinf(value):
            if said is not None or not math.isinf(value):
                return False
        elif not value <= said <= _round_up(value * (1 + _GUARD)) * (1 + 10.0 ** (1 - _DIGITS)):
            return False
    return True


def publish_epsilon(epsilon: float) -> float:
    """An epsilon as it is written down: rounded up to four decimals."""
    return math.inf if math.isinf(epsilon) else math.ceil(epsilon * 10_000 * (1 + _GUARD)) / 10_000


def _round_up(value: float) -> float:
    if value == 0.0 or math.isinf(value):
        return value
    guarded = value * (1 + _GUARD)
    exponent = math.floor(math.log10(guarded)) + 1 - _DIGITS
    rounded = float(f"{math.ceil(guarded / 10.0**exponent)}e{exponent}")
    return rounded if rounded >= value else math.nextafter(rounded, math.inf)
