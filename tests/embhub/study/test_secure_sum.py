"""A masked sum: exact whoever is missing within the limit, refused above it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embhub.study.wire import StudyStepError
from tests.support.studies import ROUNDS, Play, keys_of, step_of, vectors_of

KEYS = keys_of(20)


@st.composite
def plays(draw: st.DrawFn, *, too_many: bool = False) -> Play:
    sites = draw(st.integers(2 if not too_many else 3, 9))
    dropouts = draw(st.integers(0, (sites - 2) // 2))
    names = list(KEYS)[:sites]
    lost = draw(st.permutations(names))[: dropouts + 1 if too_many else draw(st.integers(0, dropouts))]
    missing: dict[str, list[str]] = {name: [] for name in ROUNDS}
    for site in lost:
        missing[draw(st.sampled_from(ROUNDS))].append(site)
    keys = {site: KEYS[site] for site in names}
    return Play(step_of(keys, dropouts=dropouts), keys, vectors_of(names), missing)


@settings(max_examples=60, deadline=None)
@given(play=plays())
def test_the_sum_is_exact_whoever_is_missing_within_the_limit(play: Play) -> None:
    total = play.run()
    assert (total == play.expected()).all()
    gone = {site for name in ("begin", "share", "mask") for site in play.missing[name]}
    assert set(play.coordinator.survived) == set(play.keys) - gone


@settings(max_examples=40, deadline=None)
@given(play=plays(too_many=True))
def test_with_more_missing_no_sum_is_read(play: Play) -> None:
    with pytest.raises(StudyStepError, match="a sum takes"):
        play.run()


def test_twenty_sites_and_six_thousand_numbers() -> None:
    play = Play(step_of(KEYS, dropouts=4, width=6144), KEYS, vectors_of(KEYS, 6144), {"mask": ["site-03", "site-17"]})
    assert (play.run() == play.expected()).all()
    assert len(play.coordinator.survived) == 18
    sent = sum(len(data) for _, site, data in play.left if site == "site-01")
    assert sent < 40_000 and sent + play.got["site-01"] + 4 * 6144 * 4 / 3 < 100_000


def test_what_leaves_a_site_twice_is_never_the_same() -> None:
    keys = {site: KEYS[site] for site in list(KEYS)[:4]}
    vectors = {site: np.zeros(8, dtype=np.uint32) for site in keys}
    first, second = (Play(step_of(keys, dropouts=1), keys, vectors) for _ in range(2))
    assert (first.run() == 0).all() and (second.run() == 0).all()
    assert not {data for _, _, data in first.left} & {data for _, _, data in second.left}
