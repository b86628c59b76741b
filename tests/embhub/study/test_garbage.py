"""Garbage and lies that reach the coordinator, and any bytes at all that reach anybody."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embhub.study import shamir, wire
from embhub.study.coordinator import CoordinatorStep
from embhub.study.site import SiteStep
from embhub.study.wire import StudyStepError
from embhub.trust import dsse
from tests.support.damage import ODD, WORDS
from tests.support.stopped_steps import KEYS, NAMES, edit, play, reach
from tests.support.studies import ROUNDS, STATE, step_of

GARBAGE = {
    "nothing": b"",
    "no JSON": b"\xff\xfe",
    "deep": b"[" * 5000,
    "huge": b'{"kind": "masked", "vector": "' + b"A" * 2_000_000 + b'"}',
    "another kind": b'{"kind":"keys"}',
}


@pytest.mark.parametrize("case", GARBAGE)
@pytest.mark.parametrize("name", ROUNDS)
def test_a_site_that_sends_garbage_is_missing_and_the_sum_goes_on(case: str, name: str) -> None:
    found = play()
    take = {"begin": "keys", "share": "boxes", "mask": "masked", "agree": "agreement", "show": "shown"}[name]
    method = getattr(found.coordinator, f"take_{take}")

    def forgiving(site: str, data: bytes) -> None:
        if site == NAMES[1]:
            with pytest.raises(StudyStepError):
                method(site, GARBAGE[case])
            found.here = [other for other in found.here if other != site]
        else:
            method(site, data)

    setattr(found.coordinator, f"take_{take}", forgiving)
    assert (found.run() == found.expected()).all()


def test_a_vector_of_another_length_or_for_another_roster_is_refused() -> None:
    found, held = reach("mask")
    coordinator = CoordinatorStep(found.step)
    coordinator.__dict__.update(found.coordinator.__dict__)
    data = found.answer("mask", NAMES[0], held[NAMES[0]])
    take = CoordinatorStep.take_masked
    longer = dsse.encode(bytes(4 * 9))
    for change, word in (
        (lambda value: value.update(vector=longer), "36 bytes"),
        (lambda value: value.update(roster="0" * 64), "other sites"),
        (lambda value: value.update(vector=dsse.encode(bytes(32))), "not signed by it"),
        (lambda value: value.update(site=NAMES[1]), "in the name of"),
    ):
        with pytest.raises(StudyStepError, match=word):
            take(coordinator, NAMES[0], edit(data, change))
    take(coordinator, NAMES[0], data)
    with pytest.raises(StudyStepError, match="already"):
        take(coordinator, NAMES[0], data)
    for site, other in (
        (NAMES[1], np.zeros(9, dtype=np.uint32)),
        (NAMES[2], np.zeros(8)),
        (NAMES[3], np.zeros(8, int)),
    ):
        found.sites[site].open(held[site])
        with pytest.raises(StudyStepError, match="belong"):
            found.sites[site].mask(other)  # type: ignore[arg-type]


def test_no_step_has_so_few_sites_that_two_lists_could_have_a_quorum() -> None:
    for dropouts, colluders in ((3, 0), (2, 0), (2, 1), (1, 3), (0, 5), (-1, 0)):
        with pytest.raises(ValueError, match="sites"):
            step_of(KEYS, dropouts=dropouts, colluders=colluders)
    step_of(KEYS, dropouts=1)
    step_of(KEYS, dropouts=1, colluders=2)


@pytest.mark.parametrize("which, word", [("own", "own mask"), ("keys", "key do not give")])
def test_wrong_shares_are_noticed(which: str, word: str) -> None:
    found = play(missing={"mask": [NAMES[4]]})
    lie = dsse.encode(shamir.to_bytes(12345))

    def lying(name: str, site: str, data: bytes) -> bytes:
        if name != "show" or site != NAMES[0]:
            return data
        return edit(data, lambda value: value[which].update({next(iter(value[which])): lie}))

    found.from_site = lying
    with pytest.raises(StudyStepError, match=word):
        found.run()


def test_shares_of_others_than_asked_for_are_refused() -> None:
    found, held = reach("show")
    data = found.sites[NAMES[0]].show(held[NAMES[0]])
    with pytest.raises(StudyStepError, match="others than it was asked for"):
        CoordinatorStep.take_shown(found.coordinator, NAMES[0], edit(data, lambda value: value["own"].pop(NAMES[1])))


def test_one_key_under_two_names_is_no_two_sites() -> None:
    with pytest.raises(ValueError, match="one key"):
        step_of({**KEYS, NAMES[1]: KEYS[NAMES[0]]}, dropouts=1)


def test_a_site_signs_with_the_key_that_the_study_has_for_it() -> None:
    step = step_of(KEYS, dropouts=1)
    for site, key in ((NAMES[0], KEYS[NAMES[1]]), ("stranger", KEYS[NAMES[0]])):
        with pytest.raises(StudyStepError, match="another key"):
            SiteStep(step, site, key, state=STATE)


CHANGES = st.lists(
    st.tuples(st.floats(0, 1), st.sampled_from([0, 1, 2, 8, 60]), st.sampled_from(WORDS) | st.binary(max_size=3)),
    min_size=1,
    max_size=3,
)
ODD_VALUES = st.tuples(st.floats(0, 1), st.sampled_from(ODD))


def spoil(message: bytes, changes: list[tuple[float, int, bytes]] | tuple[float, object]) -> bytes:
    """A message with bytes or one JSON value replaced, at shares of its length: every run has other messages."""
    if isinstance(changes, list):
        data = bytearray(message)
        for share, length, word in changes:
            place = int(share * len(data))
            data[place : place + length] = word
        return bytes(data)
    value, (share, odd) = json.loads(message), changes
    places = list(_places(value))
    inside, name = places[int(share * (len(places) - 1))]
    inside[name] = odd
    return json.dumps(value).encode()


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    for name, part in value.items() if isinstance(value, dict) else enumerate(value):
        yield value, name
        if isinstance(part, dict | list):
            yield from _places(part)


@settings(max_examples=25, deadline=None)
@given(changes=CHANGES | ODD_VALUES, stage=st.sampled_from(ROUNDS[1:]))
def test_no_message_breaks_a_site(changes: Any, stage: str) -> None:
    found, held = reach(stage, sites=4)
    with contextlib.suppress(StudyStepError):
        found.answer(stage, NAMES[0], spoil(held[NAMES[0]], changes))


@settings(max_examples=25, deadline=None)
@given(changes=CHANGES | ODD_VALUES, stage=st.sampled_from(ROUNDS))
def test_no_message_breaks_the_coordinator(changes: Any, stage: str) -> None:
    found, held = reach(stage, sites=4)
    message = found.answer(stage, NAMES[0], held[NAMES[0]])
    take = {"begin": "keys", "share": "boxes", "mask": "masked", "agree": "agreement", "show": "shown"}[stage]
    with contextlib.suppress(StudyStepError):
        getattr(CoordinatorStep, f"take_{take}")(found.coordinator, NAMES[0], spoil(message, changes))


@given(data=st.binary(max_size=300), kind=st.sampled_from(wire._Message.__subclasses__()))
def test_any_bytes_are_read_or_refused(data: bytes, kind: type[wire._Message]) -> None:
    with contextlib.suppress(StudyStepError):
        wire.read(kind, data)
