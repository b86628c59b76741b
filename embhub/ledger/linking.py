"""What a spending costs whom, also where pictures came without ids and their patients are known from elsewhere.

Each training keeps which picture is whose, both keyed. So pictures that were learned from without ids are charged to
the patient that they turn out to be of, and patients' trainings to pictures that come again without ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np

from embhub.ledger.spending import Account, Spending
from embhub.ledger.unit_losses import Charge, contains
from embhub.ledger.unit_sets import NO_PAIRS, Ids, Unit, UnitSets
from embhub.privacy.mechanisms import Mechanism
from embhub.privacy.rdp import Curve, group_curve


def charges(
    sets: UnitSets, spendings: Sequence[Spending], *, unit: Unit, known: Sequence[Spending] = ()
) -> list[Charge]:
    """Spendings as charges on units of one kind; each set is read once. `known` are others that say whose pictures are.

    Trainings that protect single images cost a patient with several of them more: the curve is that of a group
    (`embhub.privacy.rdp.group_curve`). An image more or less among a patient's is at most two patients' worth.
    """
    held = {digest: sets.load(digest) for digest in {item.units for item in spendings if item.unit == unit}}
    found = [_charge(item, held[item.units], item.curve, item.parameters) for item in spendings if item.unit == unit]
    others = [item for item in spendings if item.unit != unit]
    if not others:
        return found
    links = all_links(sets, [*spendings, *known])
    for item in others:
        found += _of_linked_patients(sets, item, links) if unit == "patient" else _of_pictures(sets, item, links)
    return found


def reached(sets: UnitSets, spending: Spending, spendings: Sequence[Spending], *, unit: Unit) -> Ids:
    """Units of one kind that a spending costs something, by what all these spendings know of pictures."""
    if spending.unit == unit:
        return sets.load(spending.units)
    links = all_links(sets, spendings)
    if unit == "patient":
        return np.unique(links[contains(sets.load(spending.units), links[:, 0]), 1])
    return _pictures_of(sets, spending, links)


def all_links(sets: UnitSets, spendings: Sequence[Spending]) -> Ids:
    """Every pair of a picture and its patient that these spendings wrote down, (N, 2)."""
    known = [sets.load_pairs(digest) for digest in {item.pictures for item in spendings if item.pictures}]
    return np.unique(np.concatenate([NO_PAIRS, *known]), axis=0)


def check_sets(sets: UnitSets, spendings: Iterable[Spending]) -> None:
    """Read every set that spendings name.

    Raises:
        LedgerTamperedError: one is missing, or was changed.
    """
    for digest in {name for item in spendings for name in (item.units, item.pictures, item.folded) if name}:
        sets.load(digest)


def count_alike(account: Account, sets: UnitSets, spending: Spending) -> int:
    """Patients of a spending whose id looks like another patient's, but for case, leading zeros or issuer."""
    own = sets.load_pairs(spending.folded)
    known = [sets.load_pairs(digest) for digest in {item.folded for item in account.runs.values() if item.folded}]
    pairs = np.unique(np.concatenate([own, *known]), axis=0)
    likenesses, counts = np.unique(pairs[:, 0], return_counts=True)
    return int(contains(likenesses[counts > 1], own[:, 0]).sum())


def _of_linked_patients(sets: UnitSets, item: Spending, links: Ids) -> list[Charge]:
    met = links[contains(sets.load(item.units), links[:, 0])]
    patients, pictures = np.unique(met[:, 1], return_counts=True)
    doublings = np.array([(int(count) - 1).bit_length() for count in pictures], dtype=np.int64)
    return [
        _charge(item, patients[doublings == size], _for_group(item.curve, 2 ** int(size)), _alone(item, int(size)))
        for size in np.unique(doublings)
    ]


def _of_pictures(sets: UnitSets, item: Spending, links: Ids) -> list[Charge]:
    pictures = _pictures_of(sets, item, links)
    return [_charge(item, pictures, _for_group(item.curve, 2))] if len(pictures) else []


def _pictures_of(sets: UnitSets, item: Spending, links: Ids) -> Ids:
    """Those that it read; where nobody wrote them down, all that are known of its patients."""
    own = sets.load_pairs(item.pictures) if item.pictures else links[contains(sets.load(item.units), links[:, 1])]
    return np.unique(own[:, 0])


def _alone(item: Spending, doublings: int) -> tuple[Mechanism, ...] | None:
    return None if doublings else item.parameters


@lru_cache(maxsize=256)
def _for_group(curve: Curve, size: int) -> Curve:
    return group_curve(curve, size=size)


def _charge(item: Spending, units: Ids, curve: Curve, mechanisms: tuple[Mechanism, ...] | None = None) -> Charge:
    """Without mechanisms for groups of units, which have a curve of their own."""
    return Charge(units, curve, bool(item.released) or item.report is not None, item.trainings, mechanisms)
