"""What each unit of a site has lost: charges on sets of keyed ids, added up for each id. Pure.

A set is a sorted array of 64-bit keyed ids. Should two patients share an id by chance, their losses are added up: that
counts too much, never too little. Units that were in exactly the same charges are counted as one group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embhub.privacy.epsilon import loss_epsilon
from embhub.privacy.loss_distribution import Mechanism
from embhub.privacy.rdp import NOTHING, ORDERS, Curve, publish_epsilon

_TIGHTENED = 32  # groups of units: more would take seconds, and the largest are the first
_ROUNDING = 1e-12  # relative: a sum of floats may come out this much too low


@dataclass(frozen=True)
class Charge:
    """One training: which units it read, what it costs each of them, and whether a release came of it.

    `trainings` above 1: so many, of another ledger, counted as one. `mechanisms` are what the curve is of, where they
    are known: then epsilons are composed from losses too.
    """

    units: NDArray[np.uint64]
    curve: Curve
    released: bool = True
    trainings: int = 1
    mechanisms: tuple[Mechanism, ...] | None = None


@dataclass(frozen=True)
class Loss:
    """Of a set of units after some charges.

    `epsilon` is the largest of any one unit, `curve` the pointwise maximum over units, `trainings` and `unreleased` the
    most that one unit was in, and `worst` how many units have that epsilon.
    """

    epsilon: float
    curve: Curve
    trainings: int
    unreleased: int
    worst: int


def loss_of(units: NDArray[np.uint64], charges: Sequence[Charge], *, delta: float) -> Loss:
    """What `units` have lost through `charges`, as the worst-off of them sees it."""
    if not len(units) or not charges:
        return Loss(0.0, NOTHING, 0, 0, 0)
    inside = np.stack([contains(charge.units, units) for charge in charges], axis=1)
    groups, sizes = np.unique(inside, axis=0, return_counts=True)
    curves = _add_up(groups, charges)
    epsilons = _tighten(_epsilons(curves, delta=delta), groups, charges, delta=delta)
    worst = float(epsilons.max())
    unreleased = groups @ np.array([not charge.released for charge in charges], dtype=np.int64)
    return Loss(
        epsilon=publish_epsilon(worst),
        curve=tuple(map(float, curves.max(axis=0))),
        trainings=int((groups @ np.array([charge.trainings for charge in charges], dtype=np.int64)).max()),
        unreleased=int(unreleased.max()),
        worst=int(sizes[epsilons == worst].sum()),
    )


def contains(inside: NDArray[np.uint64], units: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """For each of `units`, whether it is in the sorted array `inside`."""
    if not len(inside):
        return np.zeros(len(units), dtype=np.bool_)
    places = np.minimum(np.searchsorted(inside, units), len(inside) - 1)
    found: NDArray[np.bool_] = inside[places] == units
    return found


def families(sets: Sequence[NDArray[np.uint64]]) -> list[list[int]]:
    """Indices of sets that hang together by shared units, each family in order of its first."""
    if not sets:
        return []
    owner = np.arange(len(sets))
    units, inverse = np.unique(np.concatenate(sets), return_inverse=True)
    first = np.full(len(units), -1)
    start = 0
    for index, members in enumerate(sets):
        places = inverse[start : start + len(members)]
        start += len(members)
        met = np.unique(owner[first[places][first[places] >= 0]])
        joined = int(min([index, *met.tolist()]))
        owner[np.isin(owner, met)] = joined
        owner[index] = joined
        first[places] = np.where(first[places] < 0, index, first[places])
    return [np.flatnonzero(owner == root).tolist() for root in dict.fromkeys(owner.tolist())]


def _add_up(groups: NDArray[np.bool_], charges: Sequence[Charge]) -> NDArray[Any]:
    table = np.array([charge.curve for charge in charges])
    endless = np.isinf(table)
    sums = groups.astype(np.float64) @ np.where(endless, 0.0, table) * (1 + _ROUNDING * len(charges))
    return np.where(groups.astype(np.float64) @ endless > 0, np.inf, sums)


def _tighten(
    epsilons: NDArray[Any], groups: NDArray[np.bool_], charges: Sequence[Charge], *, delta: float
) -> NDArray[Any]:
    """The largest of the epsilons made smaller by losses, where all mechanisms of a group are known.

    From the largest down, and no further than can change which is the largest. After so many groups the others keep
    what their curves gave, which is an upper bound too.
    """
    found, largest = epsilons.copy(), 0.0
    for group in np.argsort(-epsilons, kind="stable")[:_TIGHTENED]:
        if epsilons[group] <= largest:
            break
        known = [charge.mechanisms for charge, inside in zip(charges, groups[group], strict=True) if inside]
        mechanisms = [one for each in known if each is not None for one in each]
        if None not in known:
            found[group] = min(epsilons[group], loss_epsilon(mechanisms, delta=delta))
        largest = max(largest, float(found[group]))
    return found


def _epsilons(curves: NDArray[Any], *, delta: float) -> NDArray[Any]:
    """`curves.epsilon_of` for many at once."""
    orders = np.array(ORDERS)
    constant = np.log1p(-1 / orders) - (np.log(delta) + np.log(orders)) / (orders - 1)
    bounds = np.maximum(0.0, (curves + constant).min(axis=1))
    return np.where(curves.any(axis=1), bounds, 0.0)
