"""The epsilon of mechanisms as a claim states it: by Rényi differential privacy, by losses, and the smaller one."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

from embhub.privacy import loss_distribution
from embhub.privacy import rdp as curves
from embhub.privacy.loss_distribution import Mechanism

Name = Literal["rdp", "pld", "gaussian"]
LAST_DIGIT: Final = 1.5e-4
"""Another machine may round an epsilon up to the next of four decimals."""
_SMALLEST = 1e-5  # a claim of no loss at all would not be read
_GUARD = 1e-6  # relative: another version of numpy or scipy may differ so much in figures from losses, and no more


class Figures(NamedTuple):
    """What a claim states of one mechanism, rounded up: the smaller epsilon, whose it is, and both.

    `pld` is None where losses give no bound.
    """

    name: Name
    epsilon: float
    rdp: float
    pld: float | None


def compose(mechanisms: Iterable[Mechanism], *, delta: float) -> float:
    """The epsilon of all of them on one unit: the smaller of RDP and losses. Both are upper bounds; not rounded.

    Args:
        mechanisms: rate, noise multiplier and steps of each; none at all have an epsilon of 0.
        delta: as in (epsilon, delta)-differential privacy.

    Raises:
        ValueError: delta is not between 0 and 1, or a mechanism has parameters that none has.
    """
    parts = list(mechanisms)
    tight = loss_epsilon(parts, delta=delta)
    curve = curves.compose(curves.gaussian_curve(q=q, sigma=sigma, steps=steps) for q, sigma, steps in parts)
    return min(tight, curves.epsilon_of(curve, delta=delta))


def stated_range(mechanisms: Iterable[Mechanism], *, delta: float) -> tuple[float, float]:
    """Between which the epsilon of all of them may be stated: rounded up, on this machine or on another.

    Raises:
        ValueError: as `compose`.
    """
    parts = list(mechanisms)
    curve = curves.compose(curves.gaussian_curve(q=q, sigma=sigma, steps=steps) for q, sigma, steps in parts)
    by_curve, by_losses = curves.epsilon_of(curve, delta=delta), loss_distribution.epsilon_of(parts, delta=delta)
    most = min(curves.publish_epsilon(by_curve), publish(by_losses * (1 + _GUARD)))
    return min(by_curve, by_losses), most + LAST_DIGIT


def loss_epsilon(mechanisms: Iterable[Mechanism], *, delta: float) -> float:
    """The epsilon from privacy-loss distributions alone, with room for other machines; infinite for no bound.

    Raises:
        ValueError: as `compose`.
    """
    return loss_distribution.epsilon_of(mechanisms, delta=delta) * (1 + _GUARD)


def of_group(mechanism: Mechanism, *, size: int, delta: float) -> float:
    """The epsilon of one mechanism for `size` units together, such as several ids of one person; not rounded.

    Raises:
        ValueError: as `compose`, or `size` is below 1.
    """
    q, sigma, steps = mechanism
    general = curves.group_epsilon(curves.gaussian_curve(q=q, sigma=sigma, steps=steps), size=size, delta=delta)
    return min(general, loss_distribution.group_epsilon_of(mechanism, size=size, delta=delta) * (1 + _GUARD))


def compute(mechanism: Mechanism, *, delta: float) -> Figures:
    """Both figures of one mechanism as a claim states them.

    Raises:
        ValueError: as `compose`.
    """
    q, sigma, steps = mechanism
    curve = curves.gaussian_curve(q=q, sigma=sigma, steps=steps)
    rdp = curves.publish_epsilon(curves.epsilon_of(curve, delta=delta))
    tight = publish(loss_epsilon([mechanism], delta=delta))
    pld = tight if math.isfinite(tight) else None
    return Figures(*choose(rdp, pld, q=q), rdp, pld)


def choose(rdp: float, pld: float | None, *, q: float) -> tuple[Name, float]:
    """Name and value of the smaller figure; RDP where they are equal."""
    if pld is None or pld >= rdp:
        return "rdp", rdp
    return ("gaussian" if q == 1.0 else "pld"), pld


def publish(epsilon: float) -> float:
    """An epsilon from losses as it is written down: rounded up to four decimals, and never nothing."""
    return curves.publish_epsilon(max(epsilon, _SMALLEST))
