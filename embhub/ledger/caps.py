"""Which cap on the privacy budget a training would go beyond, in words."""

from __future__ import annotations

import math

import numpy as np

from embhub.ledger.linking import all_links, charges, check_sets, reached
from embhub.ledger.spending import AUDIT, Account, Cap, Spending
from embhub.ledger.unit_losses import Loss, loss_of
from embhub.ledger.unit_sets import UNITS, Unit, UnitSets


def excess(account: Account, sets: UnitSets, spending: Spending) -> str | None:
    """Which cap a spending goes beyond, in words; None where it stays within all.

    Patients whose pictures come without ids are looked at too, where another training knows whose they are. A picture
    is compared itself where nobody knows whose it is; else its patient is: a cap speaks of patients, and the bound for
    one picture of a known patient is looser, being that of two patients.

    Raises:
        LedgerTamperedError: a set of patients is missing, or was changed.
    """
    others = [item for item in account.costly if item.run != spending.run]
    check_sets(sets, others)
    of_patients = all_links(sets, [*others, spending])[:, 0] if account.caps else ()
    for unit in UNITS if account.caps else ():
        reached_by_it = reached(sets, spending, [*others, spending], unit=unit)
        if unit == "image":
            reached_by_it = np.setdiff1d(reached_by_it, of_patients)
        if not len(reached_by_it):
            continue
        before, after = charges(sets, others, unit=unit), charges(sets, [*others, spending], unit=unit)
        for cap in account.caps:
            units = reached_by_it if cap.units is None else np.intersect1d(reached_by_it, sets.load(cap.units))
            spent = loss_of(units, after, delta=cap.delta)
            if spent.epsilon > cap.epsilon:
                return _over(cap, loss_of(units, before, delta=cap.delta), spent, spending, unit)
    return None


def _over(cap: Cap, before: Loss, after: Loss, spending: Spending, unit: Unit) -> str:
    if math.isinf(after.epsilon) and not math.isinf(before.epsilon):
        what = "an audit with figures of patients" if spending.mechanism == AUDIT else "a training without privacy"
        return f"no epsilon bounds {what}, and a cap of {cap.epsilon:g} holds for these {unit}s"
    now = "infinite, for a training without privacy read them" if math.isinf(before.epsilon) else f"{before.epsilon:g}"
    return (
        f"with this training {after.worst} {unit}{' comes' if after.worst == 1 else 's come'} to epsilon"
        f" {after.epsilon:g} (delta {cap.delta:g}); the cap is {cap.epsilon:g}, and the most spent before is {now}"
    )
