"""Keyrings: what they may say, whose signature makes them count, and that they only move forward."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embhub.errors import VerificationError
from embhub.refusals import (
    BadSignatureError,
    MalformedEnvelopeError,
    MalformedKeyringError,
    RollbackError,
    WrongRootError,
)
from embhub.site.signing.keys import SigningKey
from embhub.trust import dsse
from embhub.trust import keyring as keyrings
from tests.support.releases import (
    AUDITOR,
    OTHER_SITE,
    REGISTRY,
    ROOT,
    SITE,
    STRANGER,
    make_export,
    make_keyring,
    make_trust,
    member,
)

EXPORT = json.loads(make_export())
REVOKED = {"fingerprint": SITE.fingerprint, "date": "2026-11-20T00:00:00Z", "reason": "lost"}


def export_of(payload: bytes, *, kind: str = keyrings.KEYRING_TYPE) -> bytes:
    envelope = dsse.sign(payload, key=ROOT, payload_type=kind)
    return json.dumps({**EXPORT, "keyring": envelope.to_json()}).encode()


def open_bytes(data: bytes, **arguments: Any) -> keyrings.Trust:
    return keyrings.open_export(keyrings.parse_export(data), **{"root_fingerprint": ROOT.fingerprint, **arguments})


def test_keyring_says_who_may_what() -> None:
    opened = make_trust()
    key = opened.lookup(SITE.fingerprint)
    assert key is not None
    assert (key.namespace, key.roles, key.registry) == ("radboud", frozenset({"publish"}), REGISTRY)
    assert key.public_key.public_numbers() == SITE.public.public_numbers()
    assert opened.lookup(STRANGER.fingerprint) is None
    assert (opened.registry, opened.root_fingerprint) == (REGISTRY, ROOT.fingerprint)
    assert ([root.fingerprint for root in opened.root_keys], opened.threshold) == ([ROOT.fingerprint], 1)
    lumc = replace(opened, namespaces=frozenset({"lumc"}))
    assert lumc.lookup(OTHER_SITE.fingerprint) is not None and lumc.lookup(SITE.fingerprint) is None


def test_a_keyring_without_a_root_is_a_sites_own_and_nobodys_export() -> None:
    unrooted = make_keyring().model_copy(update={"root": None})
    own = replace(make_trust(), keyring=unrooted)
    assert (own.root_keys, own.threshold) == ((), 0)
    assert keyrings.as_sequence(own) == keyrings.as_sequence([own]) == (own,)
    with pytest.raises(MalformedKeyringError, match="names no root"):
        keyrings.parse_export(export_of(unrooted.to_bytes()))


def test_a_key_may_publish_and_withdraw() -> None:
    opened = make_trust(make_keyring(members=[member("radboud", [(SITE, "publish"), (SITE, "withdraw")])]))
    key = opened.lookup(SITE.fingerprint)
    assert key is not None and key.roles == {"publish", "withdraw"}


def test_same_keyring_is_the_same_bytes() -> None:
    assert make_keyring().to_bytes() == keyrings.parse_keyring(make_keyring().to_bytes()).to_bytes()
    assert keyrings.parse_export(make_export()).to_bytes().endswith(b"\n")


def test_a_keyring_without_revocations_reads_as_it_always_did() -> None:
    assert "revoked" not in json.loads(make_keyring().to_bytes())
    revoking = make_keyring(revoked=[REVOKED])
    assert json.loads(revoking.to_bytes())["revoked"] == [REVOKED]
    key = make_trust(revoking).lookup(SITE.fingerprint)
    assert key is not None and key.revocation is not None and key.revocation.reason == "lost"


@pytest.mark.parametrize(
    ("after", "back"),
    [
        ([REVOKED], False),
        ([{**REVOKED, "reason": "stolen", "date": "2026-11-25T00:00:00Z"}], False),
        ([{**REVOKED, "date": "2026-11-19T00:00:00Z"}], False),
        ([{**REVOKED, "reason": "superseded"}], True),
        ([{**REVOKED, "date": "2026-11-21T00:00:00Z"}], True),
        ([], True),
    ],
)
def test_a_revocation_does_not_grow_milder(after: list[dict[str, Any]], back: bool) -> None:
    earlier, later = make_keyring(revoked=[REVOKED]), make_keyring(version=2, revoked=after)
    assert keyrings.keys_brought_back(earlier, later) == ([SITE.fingerprint] if back else [])


def test_a_graver_reason_with_a_later_date_is_milder() -> None:
    """What the key signed between the two dates would count again."""
    earlier = make_keyring(revoked=[{**REVOKED, "reason": "superseded"}])
    for date, back in ((REVOKED["date"], False), ("2099-01-01T00:00:00Z", True)):
        later = make_keyring(version=2, revoked=[{**REVOKED, "reason": "lost", "date": date}])
        assert bool(keyrings.keys_brought_back(earlier, later)) is back


def test_a_revocation_stays_when_the_members_leave() -> None:
    """Else the keyring after that could list the key again."""
    gone, removed = make_keyring(members=[]), make_keyring(members=[], revoked=[{**REVOKED, "reason": "left"}])
    assert keyrings.keys_brought_back(make_keyring(revoked=[REVOKED]), gone) == [SITE.fingerprint]
    assert keyrings.keys_brought_back(removed, gone) == [SITE.fingerprint]
    assert keyrings.keys_brought_back(make_keyring(revoked=[REVOKED]), removed) == []


def key_row(**changes: Any) -> dict[str, Any]:
    return {**member("radboud", [(SITE, "publish")])["keys"][0], **changes}


def named(key: SigningKey) -> dict[str, str]:
    return {"fingerprint": key.fingerprint, "public_key_pem": key.public_pem}


def ring(*keys: dict[str, Any], **changes: Any) -> dict[str, Any]:
    document = json.loads(make_keyring(members=[]).to_bytes())
    members = [{"namespace": "radboud", "keys": list(keys)}] if keys else []
    return {**document, "members": members, **changes}


BAD_KEYRINGS: dict[str, dict[str, Any]] = {
    "key under two namespaces": ring(members=[member("a", [(SITE, "publish")]), member("b", [(SITE, "publish")])]),
    "auditor who publishes": ring(members=[member("a", [(AUDITOR, "audit"), (AUDITOR, "publish")])]),
    "auditor who withdraws": ring(members=[member("a", [(AUDITOR, "withdraw"), (AUDITOR, "audit")])]),
    "auditor here, publisher there": ring(members=[member("a", [(SITE, "audit")]), member("b", [(SITE, "publish")])]),
    "role twice": ring(key_row(), key_row()),
    "namespace twice": ring(members=[member("a", []), member("a", [(SITE, "publish")])]),
    "reserved namespace": ring(members=[member("api", [])]),
    "namespace with a path": ring(members=[member("../a", [])]),
    "upper-case namespace": ring(members=[member("Radboud", [])]),
    "name with a line break": ring(members=[{"namespace": "a", "name": "a\nb", "keys": []}]),
    "fingerprint of another key": ring(key_row(fingerprint=STRANGER.fingerprint)),
    "fingerprint of no form": ring(key_row(fingerprint="SHA256:x")),
    "role of no form": ring(key_row(role="Admin")),
    "key that is no key": ring(key_row(public_key_pem="hello")),
    "time of no form": ring(key_row(added="now")),
    "unknown critical member of a key": ring(key_row(until="never"), critical=["until"]),
    "unknown critical member": ring(extra=1, critical=["extra"]),
    "critical that is no list": ring(critical="extra"),
    "no end": {name: value for name, value in ring().items() if name != "expires"},
    "no root": {name: value for name, value in ring().items() if name != "root"},
    "root without keys": ring(root={"threshold": 1, "keys": []}),
    "threshold above its keys": ring(root={**ring()["root"], "threshold": 2}),
    "threshold of none": ring(root={**ring()["root"], "threshold": 0}),
    "root key twice": ring(root={"threshold": 2, "keys": ring()["root"]["keys"] * 2}),
    "online key that is the root's": ring(online={"timestamp": ring()["root"]["keys"][0]}),
    "online key that is a member's": ring(key_row(), online={"timestamp": named(SITE)}),
    "online key with two purposes": ring(online={"timestamp": named(AUDITOR), "advisories": named(AUDITOR)}),
    "version above 2**53 - 1": ring(version=2**53),
    "version zero": ring(version=0),
    "version as text": ring(version="1"),
    "version true": ring(version=True),
    "no version": {name: value for name, value in ring().items() if name != "version"},
    "another schema": ring(schema="embhub.keyring/1"),
    "address that is none": ring(registry="hub"),
    "date that never was": ring(issued="2026-02-30T00:00:00Z"),
    "revocation of nobody's key": ring(key_row(), revoked=[{**REVOKED, "fingerprint": STRANGER.fingerprint}]),
    "revocation twice": ring(key_row(), revoked=[REVOKED, {**REVOKED, "reason": "stolen"}]),
    "revocation for no reason": ring(key_row(), revoked=[{**REVOKED, "reason": "bored"}]),
    "revocation without a date": ring(key_row(), revoked=[{k: v for k, v in REVOKED.items() if k != "date"}]),
    "revocation with more, critical": ring(key_row(), revoked=[{**REVOKED, "until": "tomorrow"}], critical=["until"]),
}


@pytest.mark.parametrize("name", BAD_KEYRINGS)
def test_keyring_that_breaks_a_rule(name: str) -> None:
    with pytest.raises(MalformedKeyringError):
        keyrings.parse_keyring(json.dumps(BAD_KEYRINGS[name]).encode())


def test_good_keyring_of_the_same_making() -> None:
    assert keyrings.parse_keyring(json.dumps(ring(key_row())).encode()).version == 1


def test_duplicate_members_are_refused() -> None:
    text = json.dumps(ring(key_row())).replace('"version": 1', '"version": 1, "version": 2')
    with pytest.raises(MalformedKeyringError, match="twice"):
        keyrings.parse_keyring(text.encode())


def test_root_must_be_the_pinned_one() -> None:
    with pytest.raises(WrongRootError, match=STRANGER.fingerprint):
        open_bytes(make_export(root=STRANGER))


def test_keyring_signed_by_another_key_than_the_root() -> None:
    forged = keyrings.sign_keyring(make_keyring(version=9), root_key=STRANGER).to_json()
    with pytest.raises(BadSignatureError):
        open_bytes(json.dumps({**EXPORT, "keyring": forged}).encode())


def test_edited_keyring() -> None:
    envelope = dsse.parse(EXPORT["keyring"], payload_type=keyrings.KEYRING_TYPE)
    edited = dsse.Envelope(
        envelope.payload.replace(b'"version":1', b'"version":2'), envelope.payload_type, envelope.signature, ""
    )
    with pytest.raises(BadSignatureError):
        open_bytes(json.dumps({**EXPORT, "keyring": edited.to_json()}).encode())


def test_statement_is_not_a_keyring() -> None:
    with pytest.raises(MalformedEnvelopeError, match="payloadType"):
        keyrings.parse_export(export_of(make_keyring().to_bytes(), kind=dsse.INTOTO))


def test_keyring_of_another_registry() -> None:
    with pytest.raises(MalformedKeyringError, match="keyring of https://evil"):
        open_bytes(export_of(make_keyring(registry="https://evil.example.org").to_bytes()))


def test_rollback_of_the_keyring() -> None:
    assert open_bytes(make_export(make_keyring(version=3)), minimum_version=3).keyring.version == 3
    with pytest.raises(RollbackError):
        open_bytes(make_export(make_keyring(version=3)), minimum_version=4)


def test_root_key_is_not_a_members_key() -> None:
    with pytest.raises(WrongRootError, match="also a member"):
        open_bytes(make_export(make_keyring(members=[member("radboud", [(ROOT, "publish")])])))


def test_root_of_another_algorithm() -> None:
    root = {"threshold": 1, "keys": [{"fingerprint": ROOT.fingerprint, "public_key_pem": "hello"}]}
    with pytest.raises(MalformedKeyringError, match="public key"):
        keyrings.parse_export(export_of(json.dumps(ring(root=root)).encode()))


def test_a_later_version_of_the_format_is_read_unless_it_is_critical() -> None:
    later = ring(key_row(note="x"), sites=[{"a": 1}])
    opened = open_bytes(export_of(json.dumps(later).encode()))
    assert opened.lookup(SITE.fingerprint) is not None
    assert keyrings.parse_export(json.dumps({**EXPORT, "later": 1}).encode()).root_fingerprint == ROOT.fingerprint
    with pytest.raises(MalformedKeyringError, match="critical"):
        open_bytes(export_of(json.dumps({**later, "critical": ["sites"]}).encode()))


def test_a_role_that_this_version_does_not_know_gives_nothing() -> None:
    opened = make_trust(make_keyring(members=[member("radboud", [(SITE, "publish"), (SITE, "witness")])]))
    key = opened.lookup(SITE.fingerprint)
    assert key is not None and key.roles == {"publish"}


@pytest.mark.parametrize(
    "document",
    [
        [],
        {},
        {**EXPORT, "roots": {}},
        {**EXPORT, "schema": "embhub.trust/1"},
        {**EXPORT, "registry": 1},
        {**EXPORT, "registry": "x"},
    ],
)
def test_malformed_export(document: Any) -> None:
    with pytest.raises(MalformedKeyringError):
        keyrings.parse_export(json.dumps(document).encode())


def test_an_export_beyond_its_limit_is_not_read() -> None:
    data = json.dumps(EXPORT).encode()
    keyrings.parse_export(data.ljust(keyrings.EXPORT_BYTES))
    with pytest.raises(MalformedKeyringError):
        keyrings.parse_export(data.ljust(keyrings.EXPORT_BYTES + 1))


@given(st.dictionaries(st.sampled_from(sorted(EXPORT)), st.none() | st.text() | st.integers() | st.lists(st.text())))
def test_arbitrary_members(changes: dict[str, Any]) -> None:
    try:
        keyrings.parse_export(json.dumps({**EXPORT, **changes}).encode())
    except VerificationError:
        return
    assert not changes.keys() - {"schema", "registry"} or changes.get("roots") == []
