"""Signed advisories: what an entry binds, and which documents are refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from embhub.errors import VerificationError
from embhub.refusals import BadSignatureError, MalformedAdvisoriesError, MalformedEnvelopeError
from embhub.trust import advisories, dsse, p256
from embhub.trust.advisories import ADVISORIES_TYPE, Advisories, Advisory
from tests.support.releases import SITE, STRANGER

BYTES, OTHER, NUMBERS = "a" * 64, "b" * 64, "c" * 64
KEY = p256.read_public(SITE.public_pem)
AT = "2026-11-20T10:00:00Z"


def advisory(**changes: Any) -> Advisory:
    facts: dict[str, Any] = {
        "scope": "bytes", "by": "operator", "namespace": "radboud", "repository": "radboud/knee", "version": "1.0.0",
        "digest": BYTES, "reason": "consent withdrawn", "published": AT,
    }  # fmt: skip
    return advisories.new(**{**facts, **changes})


def feed(*entries: Advisory, number: int = 7) -> Advisories:
    return advisories.build("hub.example.org", number=number, issued=AT, entries=entries)


def hits(entry: Advisory, **changes: str | None) -> bool:
    release: dict[str, Any] = {
        "namespace": "radboud", "repository": "radboud/knee", "version": "1.0.0", "digest": BYTES, **changes,
    }  # fmt: skip
    return bool(feed(entry).against(**release))


def test_what_is_signed_is_read_again() -> None:
    entries = (
        advisory(),
        advisory(scope="release", by="publisher", repository=None),
        advisory(version=None, by="key-stolen", withdrawn_on="2026-11-21T00:00:00Z", numbers=NUMBERS),
    )
    document = feed(*entries)
    envelope = document.sign(SITE)
    read = Advisories.parse(envelope, KEY)
    assert read == document and set(read.entries) == set(entries)
    again = Advisories.parse(json.dumps(envelope.to_json()).encode(), KEY)
    assert again.number == 7 and again.registry == "hub.example.org"


def test_a_release_keeps_its_advisory_under_one_name() -> None:
    assert advisory().id == advisory(reason="put in other words").id
    assert advisory().id != advisory(scope="release").id


@pytest.mark.parametrize(
    ("entry", "elsewhere", "bound"),
    [
        (advisory(by="operator"), {"namespace": "evil", "repository": "evil/copy", "version": "3.0"}, True),
        (advisory(by="key-stolen"), {"namespace": "evil", "repository": "evil/copy"}, True),
        (advisory(by="publisher"), {"namespace": "evil", "repository": "evil/copy"}, False),
        (advisory(by="publisher"), {"repository": "radboud/other", "version": "3.0"}, True),
        (advisory(by="operator"), {"digest": OTHER}, False),
        (advisory(scope="release"), {}, True),
        (advisory(scope="release"), {"version": "1.0.1"}, False),
        (advisory(scope="release"), {"repository": "radboud/other"}, False),
        (advisory(scope="release"), {"digest": OTHER}, False),
        (advisory(scope="release", version=None), {"version": "1.0.1"}, True),
        (advisory(scope="release", repository=None), {"repository": "radboud/hidden"}, True),
        (advisory(scope="release", repository=None), {"namespace": "evil", "repository": "evil/hidden"}, False),
        (advisory(withdrawn_on=AT), {}, False),
        (advisory(numbers=NUMBERS), {"digest": OTHER, "numbers": NUMBERS}, True),
        (advisory(numbers=NUMBERS), {"digest": OTHER, "numbers": OTHER}, False),
        (advisory(numbers=NUMBERS), {"numbers": OTHER}, True),
        (advisory(numbers=NUMBERS), {"digest": OTHER}, False),
        (advisory(), {"digest": OTHER, "numbers": None}, False),
        (advisory(numbers=NUMBERS, by="publisher"), {"namespace": "evil", "digest": OTHER, "numbers": NUMBERS}, False),
        (advisory(numbers=NUMBERS, scope="release"), {"digest": OTHER, "numbers": NUMBERS}, False),
    ],
)
def test_whom_an_advisory_binds(entry: Advisory, elsewhere: dict[str, str], bound: bool) -> None:
    assert hits(entry, **elsewhere) is bound


def test_the_gravest_advisory_comes_first() -> None:
    release, whole = advisory(scope="release"), advisory(scope="bytes", published="2026-11-21T10:00:00Z")
    found = feed(release, whole).against(namespace="radboud", repository="radboud/knee", version="1.0.0", digest=BYTES)
    assert found == (whole, release)
    assert "these bytes were withdrawn by the registry's operator on 2026-11-21: consent withdrawn" in found[0].sentence


def test_another_key_signs_no_advisories() -> None:
    with pytest.raises(BadSignatureError):
        Advisories.parse(feed(advisory()).sign(STRANGER), KEY)


def test_an_envelope_of_another_kind_is_refused() -> None:
    other = dsse.sign(feed(advisory()).to_bytes(), key=SITE)
    with pytest.raises(MalformedAdvisoriesError, match="payloadType"):
        Advisories.parse(other, KEY)
    with pytest.raises(MalformedEnvelopeError, match="payloadType"):
        Advisories.parse(other.to_json(), KEY)


def _document() -> dict[str, Any]:
    return dict(json.loads(feed(advisory()).to_bytes()))


def _signed(document: dict[str, Any]) -> dsse.Envelope:
    return dsse.sign(rfc8785.dumps(document), key=SITE, payload_type=ADVISORIES_TYPE)


def test_members_of_later_versions_are_ignored_unless_critical() -> None:
    later = {**_document(), "mirrors": ["x"]}
    later["advisories"][0]["severity"] = [{"type": "none"}]
    assert Advisories.parse(_signed(later), KEY).number == 7
    with pytest.raises(MalformedAdvisoriesError, match="mirrors"):
        Advisories.parse(_signed({**later, "critical": ["mirrors"]}), KEY)


@pytest.mark.parametrize("number", [1, 2**53 - 1])
def test_the_first_and_the_last_number(number: int) -> None:
    assert Advisories.parse(feed(advisory(), number=number).sign(SITE), KEY).number == number


def test_a_document_and_its_envelope_have_a_limit_of_bytes() -> None:
    for read, data in (
        (advisories.read_document, feed(advisory()).to_bytes()),
        (advisories.read_envelope, json.dumps(feed(advisory()).sign(SITE).to_json()).encode()),
    ):
        read(data.ljust(advisories.MAX_BYTES))
        with pytest.raises(MalformedAdvisoriesError):
            read(data.ljust(advisories.MAX_BYTES + 1))


def test_the_schema_has_one_name() -> None:
    with pytest.raises(MalformedAdvisoriesError, match="schema"):
        Advisories.parse(_signed({"schema_" if k == "schema" else k: v for k, v in _document().items()}), KEY)


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "embhub.advisories/2"},
        {"number": 0},
        {"number": "7"},
        {"issued": "yesterday"},
        {"registry": "https://hub.example.org"},
        {"advisories": [{}]},
        {"advisories": None},
    ],
)
def test_other_documents_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(MalformedAdvisoriesError):
        Advisories.parse(_signed({**_document(), **change}), KEY)


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("summary",), "two\nlines"),
        (("summary",), "x" * 501),
        (("id",), "EMBHUB-1"),
        (("affected",), []),
        (("affected", 0, "package", "name"), "no-slash"),
        (("affected", 0, "versions"), ["1.0.0", "1.0.1"]),
        (("database_specific", "scope"), "everything"),
        (("database_specific", "sha256"), "A" * 64),
        (("database_specific", "namespace"), "../x"),
    ],
)
def test_other_entries_are_refused(where: tuple[Any, ...], value: object) -> None:
    document = _document()
    place: Any = document["advisories"][0]
    for step in where[:-1]:
        place = place[step]
    place[where[-1]] = value
    with pytest.raises(MalformedAdvisoriesError):
        Advisories.parse(_signed(document), KEY)


def test_one_advisory_does_not_stand_twice() -> None:
    with pytest.raises(MalformedAdvisoriesError, match="twice"):
        Advisories.parse(feed(advisory(), advisory(reason="again")).sign(SITE), KEY)


@given(st.binary(max_size=300))
def test_any_signed_bytes_are_read_or_refused(payload: bytes) -> None:
    envelope = dsse.sign(payload, key=SITE, payload_type=ADVISORIES_TYPE)
    with pytest.raises(VerificationError):
        Advisories.parse(envelope, KEY)
