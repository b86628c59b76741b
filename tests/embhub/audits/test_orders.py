"""The order of labels: all that ranks say, and nothing that a score says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embhub.audits import orders, statistics

SCORES = st.lists(st.floats(-1e9, 1e9) | st.integers(0, 3).map(float), min_size=1, max_size=40)


def test_labels_stand_in_the_order_of_scores_and_ties_in_parentheses() -> None:
    assert orders.write([3.0, 1.0, 1.0], [2.0, 1.0, 0.5]) == "mn(mmn)n"


@given(SCORES, SCORES)
def test_ranks_give_every_figure_that_scores_give(members: list[float], nonmembers: list[float]) -> None:
    ranks = orders.read(orders.write(members, nonmembers))
    assert (len(ranks.members), len(ranks.nonmembers)) == (len(members), len(nonmembers))
    assert statistics.auc(*ranks) == statistics.auc(members, nonmembers)
    assert statistics.p_value(*ranks) == statistics.p_value(members, nonmembers)
    assert statistics.epsilon_bound(*ranks) == statistics.epsilon_bound(members, nonmembers)
    for fpr in (0.1, 0.5):
        assert statistics.hits_at(*ranks, fpr) == statistics.hits_at(members, nonmembers, fpr)


@given(SCORES, SCORES)
def test_scores_with_the_same_order_are_written_alike(members: list[float], nonmembers: list[float]) -> None:
    """Nothing of a score but its place survives."""
    stretched = {score: place for place, score in enumerate(sorted({*members, *nonmembers}))}
    moved = [float(stretched[score]) for score in members], [float(stretched[score]) for score in nonmembers]
    assert orders.write(*moved) == orders.write(members, nonmembers)


@pytest.mark.parametrize(
    "text", ["", "m", "n", "mmm", "mxn", "m(n", "m(n)", "()mn", "mn)", "(nm)", "(m)n", "((mn))", "m n", "mn\n", "MN"]
)
def test_what_is_no_order_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="order of labels"):
        orders.read(text)


@given(st.text(alphabet="mn()", max_size=30))
def test_an_order_that_is_read_is_written_the_same(text: str) -> None:
    try:
        ranks = orders.read(text)
    except ValueError:
        return
    assert orders.write(*ranks) == text


def test_scores_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        orders.write([float("nan")], [0.0])
