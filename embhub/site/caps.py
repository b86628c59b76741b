"""Which cap on the privacy budget a training would go beyond, in words."""

from __future__ import annotations

import math

import numpy as np

from embhub.accounting.lineage import Loss, loss_of
from embhub.site.spending import Account, Cap, Spending, UnitSets


def excess(account: Account, sets: UnitSets, spending: Spending) -> str | None:
    """Which cap a spending goes beyond, in words; None where it stays within all."""
    others = [item for item in account.costly if item.run != spending.run]
    charges = sets.charges([*others, spending])
    for cap in account.caps:
        units = sets.load(spending.units)
        if cap.units is not None:
            units = np.intersect1d(units, sets.load(cap.units))
        after = loss_of(units, charges, delta=cap.delta)
        if after.epsilon > cap.epsilon:
            return _over(cap, loss_of(units, charges[:-1], delta=cap.delta), after, spending)
    return None


def _over(cap: Cap, before: Loss, after: Loss, spending: Spending) -> str:
    if math.isinf(after.epsilon) and not math.isinf(before.epsilon):
        return (
            f"no epsilon bounds a training without privacy, and a cap of {cap.epsilon:g} holds for these"
            f" {spending.unit}s"
        )
    now = "infinite, for a training without privacy read them" if math.isinf(before.epsilon) else f"{before.epsilon:g}"
    return (
        f"with this training {after.worst} {spending.unit}{' comes' if after.worst == 1 else 's come'} to epsilon"
        f" {after.epsilon:g} (delta {cap.delta:g}); the cap is {cap.epsilon:g}, and the most spent before is {now}"
    )
