"""Losses added up for each unit: the same as a slow loop over units, and never less."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embhub.accounting.curves import EVERYTHING, NOTHING, Curve, compose, epsilon_of, gaussian_curve, worst_of
from embhub.accounting.lineage import Charge, contains, families, loss_of

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
