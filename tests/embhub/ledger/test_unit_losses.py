"""Losses added up for each unit: the same as a slow loop over units, and never less."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embhub.ledger.unit_losses import Charge, contains, families, loss_of
from embhub.privacy import epsilon as epsilons
from embhub.privacy.loss_distribution import Mechanism
from embhub.privacy.rdp import EVERYTHING, NOTHING, Curve, compose, epsilon_of, gaussian_curve, worst_of

DELTA = 1e-5
CURVES = [
    gaussian_curve(q=0.1, sigma=2.0, steps=100),
    gaussian_curve(q=1.0, sigma=3.0, steps=1),
    gaussian_curve(q=0.5, sigma=4.0, steps=20),
    EVERYTHING,
    NOTHING,
]
sets = st.frozensets(st.integers(0, 12), min_size=1, max_size=8)


def ids(members: frozenset[int]) -> np.typing.NDArray[np.uint64]:
    return np.array(sorted(members), dtype=np.uint64)


@given(sets, st.lists(st.tuples(sets, st.sampled_from(CURVES), st.booleans()), min_size=1, max_size=6))
def test_as_a_slow_loop_over_units(units: frozenset[int], trainings: list[tuple[frozenset[int], Curve, bool]]) -> None:
    charges = [Charge(ids(members), curve, released) for members, curve, released in trainings]
    loss = loss_of(ids(units), charges, delta=DELTA)
    each = {
        unit: [charge for charge, (members, _, _) in zip(charges, trainings, strict=True) if unit in members]
        for unit in units
    }
    totals = {unit: compose(charge.curve for charge in mine) for unit, mine in each.items()}
    worst = max(epsilon_of(total, delta=DELTA) for total in totals.values())
    assert loss.epsilon >= worst
    assert loss.epsilon == pytest.approx(worst, abs=3e-4) or worst == loss.epsilon
    assert loss.trainings == max(len(mine) for mine in each.values())
    assert loss.unreleased == max(sum(not charge.released for charge in mine) for mine in each.values())
    whole = worst_of(totals.values())
    assert all(said >= true * (1 - 1e-15) for said, true in zip(loss.curve, whole, strict=True))


@given(st.lists(sets, max_size=7))
def test_families_hang_together_by_shared_units(given_sets: list[frozenset[int]]) -> None:
    found = families([ids(members) for members in given_sets])
    assert sorted(index for family in found for index in family) == list(range(len(given_sets)))
    pools = [frozenset().union(*(given_sets[index] for index in family)) for family in found]
    assert all(not (one & other) for k, one in enumerate(pools) for other in pools[k + 1 :])
    for family in found:
        reached = set(given_sets[family[0]])
        for _ in family:
            reached |= set().union(*(given_sets[index] for index in family if given_sets[index] & reached))
        assert reached == set().union(*(given_sets[index] for index in family))


def test_contains_and_nothing() -> None:
    units = ids(frozenset({1, 5, 9}))
    assert contains(ids(frozenset({5, 6})), units).tolist() == [False, True, False]
    assert contains(ids(frozenset()), units).tolist() == [False] * 3
    assert loss_of(units, [], delta=DELTA).epsilon == 0.0


MECHANISMS = [Mechanism(0.1, 2.0, 100), Mechanism(1.0, 3.0, 1), Mechanism(0.5, 4.0, 20)]


@given(sets, st.lists(st.tuples(sets, st.sampled_from(MECHANISMS), st.booleans()), min_size=1, max_size=5))
def test_known_mechanisms_are_composed_by_the_smaller_figure(
    units: frozenset[int], trainings: list[tuple[frozenset[int], Mechanism, bool]]
) -> None:
    """A charge whose mechanism is not known leaves the curves' figure for those who are in it, and for no others."""
    charges = [
        Charge(ids(members), gaussian_curve(**item._asdict()), mechanisms=(item,) if known else None)
        for members, item, known in trainings
    ]
    worst = 0.0
    for unit in units:
        mine = [(item, known) for members, item, known in trainings if unit in members]
        by_curve = epsilon_of(compose(gaussian_curve(**item._asdict()) for item, _ in mine), delta=DELTA)
        tight = epsilons.compose([item for item, _ in mine], delta=DELTA)
        worst = max(worst, tight if all(known for _, known in mine) else by_curve)
    loss = loss_of(ids(units), charges, delta=DELTA)
    assert loss.epsilon >= worst and loss.epsilon == pytest.approx(worst, abs=3e-4)


def test_of_many_groups_the_figure_stays_an_upper_bound() -> None:
    """More groups of units than are tightened: the rest keeps what the curves gave."""
    units = np.arange(200, dtype=np.uint64)
    mechanisms = [Mechanism(0.1, 2.0 + number / 1000, 100) for number in range(8)]
    charges = [
        Charge(units[(units >> np.uint64(number)) % 2 == 1], gaussian_curve(**item._asdict()), mechanisms=(item,))
        for number, item in enumerate(mechanisms)
    ]
    loss = loss_of(units, charges, delta=DELTA)
    by_curve = loss_of(units, [Charge(charge.units, charge.curve) for charge in charges], delta=DELTA)
    assert epsilons.compose(mechanisms[:7], delta=DELTA) <= by_curve.epsilon and loss.curve == by_curve.curve
    worst = max(
        epsilons.compose([item for number, item in enumerate(mechanisms) if unit >> number & 1], delta=DELTA)
        for unit in (127, 191, 199)
    )
    assert worst <= loss.epsilon <= by_curve.epsilon
