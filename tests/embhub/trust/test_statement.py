"""Statements: canonical when written, strict in what matters when read."""

from __future__ import annotations

import json
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from embhub.errors import ArtifactError, VerificationError
from embhub.refusals import MalformedStatementError, WrongPredicateError
from embhub.trust import statement
from tests.support.releases import NOW

DIGEST, CARD, REPORT = "a" * 64, "b" * 64, "c" * 64


def publish(**changes: Any) -> statement.Statement:
    facts: dict[str, Any] = {
        "registry": "hub.example.org",
        "repository": "radboud/prostate-csPCa",
        "version": "1.2.0",
        "card_digest": CARD,
        "audit_digest": REPORT,
        "base_digest": None,
        "privacy": "none",
        "recipe": {"steps": 200, "learning_rate": 5e-3},
        "created": NOW,
    }
    return statement.build_publish(DIGEST, **{**facts, **changes})


def test_publish_statement_is_what_the_reference_says() -> None:
    assert json.loads(publish().to_bytes()) == {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "learned_embeds.safetensors", "digest": {"sha256": DIGEST}}],
        "predicateType": "https://embhub.org/attestation/publish/v1",
        "predicate": {
            "registry": "hub.example.org",
            "repository": "radboud/prostate-csPCa",
            "version": "1.2.0",
            "replaces": None,
            "card": {"sha256": CARD},
            "audit": {"sha256": REPORT},
            "base": None,
            "privacy": "none",
            "recipe": {"steps": 200, "learning_rate": 0.005},
            "created": "2026-11-20T10:30:00Z",
        },
    }


def test_written_canonically_and_read_back() -> None:
    written = publish(replaces="d" * 64)
    assert written.to_bytes() == rfc8785.dumps(json.loads(written.to_bytes()))
    again = statement.parse(written.to_bytes())
    assert again.digest == DIGEST
    facts = statement.read_publish(again)
    assert (facts.version, facts.replaces, facts.card.sha256) == ("1.2.0", "d" * 64, CARD)
    assert facts.audit is not None and facts.audit.sha256 == REPORT


def test_audit_statement_reads_back() -> None:
    written = statement.build_audit(
        DIGEST,
        registry="hub.example.org",
        repository="radboud/prostate",
        version="1.0.0",
        report_digest=REPORT,
        headline={"auc": 0.51},
        created=NOW,
    )
    facts = statement.read_audit(statement.parse(written.to_bytes()))
    assert (facts.repository, facts.report.sha256, facts.headline) == ("radboud/prostate", REPORT, {"auc": 0.51})


@pytest.mark.parametrize(
    "changes",
    [
        {"repository": "radboud"},
        {"repository": "Radboud/x"},
        {"repository": "radboud/x\n"},
        {"version": "one"},
        {"version": "1.0\n"},
        {"card_digest": "B" * 64},
        {"audit_digest": "short"},
        {"replaces": "c" * 64 + "\n"},
    ],
)
def test_what_no_reader_accepts_is_not_written(changes: dict[str, Any]) -> None:
    with pytest.raises(MalformedStatementError):
        publish(**changes)


def test_figures_that_json_cannot_carry() -> None:
    with pytest.raises(ArtifactError, match="exactly"):
        publish(recipe={"seed": 2**60})
    with pytest.raises(ArtifactError, match="exactly"):
        publish(recipe={"loss": float("nan")})


def test_time_needs_a_zone() -> None:
    with pytest.raises(ValueError, match="zone"):
        publish(created=NOW.replace(tzinfo=None))


def test_unknown_members_are_ignored_as_the_specification_asks() -> None:
    document = json.loads(publish().to_bytes())
    document["more"] = 1
    document["predicate"]["more"] = 1
    assert statement.read_publish(statement.parse(json.dumps(document).encode())).version == "1.2.0"


@pytest.mark.parametrize(
    "absent", ["repository", "version", "replaces", "card", "audit", "base", "privacy", "recipe", "created"]
)
def test_absent_members_are_not_nulls(absent: str) -> None:
    document = json.loads(publish().to_bytes())
    del document["predicate"][absent]
    with pytest.raises(MalformedStatementError, match=absent):
        statement.read_publish(statement.parse(json.dumps(document).encode()))


def test_one_predicate_is_not_the_other() -> None:
    with pytest.raises(WrongPredicateError):
        statement.read_audit(statement.parse(publish().to_bytes()))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)
FACTS = sorted(json.loads(publish().to_bytes())["predicate"])


@given(st.dictionaries(st.sampled_from(["_type", "subject", "predicateType", "predicate", "x"]), VALUES))
def test_arbitrary_members(changes: dict[str, Any]) -> None:
    document = {**json.loads(publish().to_bytes()), **changes}
    try:
        statement.read_publish(statement.parse(json.dumps(document).encode()))
    except VerificationError:
        return
    assert not changes.keys() - {"x", "subject"}


@given(st.dictionaries(st.sampled_from(FACTS), VALUES, min_size=1))
def test_arbitrary_facts(changes: dict[str, Any]) -> None:
    document = json.loads(publish().to_bytes())
    document["predicate"].update(changes)
    try:
        statement.read_publish(statement.parse(json.dumps(document).encode()))
    except VerificationError:
        return
    assert changes.keys() <= {"replaces", "audit", "base", "privacy", "recipe", "version"}
