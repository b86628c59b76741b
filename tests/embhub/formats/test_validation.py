"""What a pydantic model found wrong, for a terminal."""

from __future__ import annotations

import json

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from embhub.formats.validation import explain
from embhub.privacy.claim import UnsupportedClaimError, parse_claim, write_claim
from embhub.study import wire
from tests.support.claims import make_claim

ESCAPES = "\x1b]0;owned\x07\x1b[2J"


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")

    number: int


def test_at_most_five_faults_are_named_by_their_place() -> None:
    with pytest.raises(ValidationError) as caught:
        Strict.model_validate({"number": "x", **{f"other{place}": 1 for place in range(9)}})
    said = explain(caught.value)
    assert said.startswith("number: ") and "other3: " in said and "other4" not in said


def test_names_that_a_stranger_chose_move_no_cursor() -> None:
    with pytest.raises(wire.StudyStepError) as step:
        wire.read(wire.Boxes, json.dumps({"kind": "boxes", "boxes": {ESCAPES: "AA=="}}).encode())
    with pytest.raises(UnsupportedClaimError) as claim:
        parse_claim({**json.loads(write_claim(make_claim())), ESCAPES: 1})
    for error in (step.value, claim.value):
        assert "owned" in error.message and error.message.isprintable()
