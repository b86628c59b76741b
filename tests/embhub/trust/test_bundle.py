"""Bundles: our verdict on every case on which foreign verifiers differ (docs/reference/attestations.md)."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import utils
from hypothesis import given
from hypothesis import strategies as st

from embhub.errors import VerificationError
from embhub.refusals import (
    BadSignatureError,
    DigestMismatchError,
    MalformedBundleError,
    MalformedEnvelopeError,
    MalformedStatementError,
    ReleaseRefusedError,
    UnknownSignerError,
    WrongPredicateError,
)
from embhub.trust import bundle, dsse, kinds, statement
from embhub.trust.statement import Statement
from tests.support.releases import ORDER_OF_P256, SITE, STRANGER

ARTIFACT = hashlib.sha256(b"artifact").hexdigest()
FACTS = {
    "registry": "hub.example.org",
    "repository": "radboud/prostate",
    "version": "1.0.0",
    "replaces": None,
    "card": {"sha256": "0" * 64},
    "audit": None,
    "base": None,
    "privacy": "none",
    "recipe": {},
    "created": "2026-11-20T10:22:33Z",
}
PAYLOAD = Statement(ARTIFACT, kinds.PUBLISH.type, FACTS).to_bytes()
ENVELOPE = dsse.sign(PAYLOAD, key=SITE)
GOOD = json.loads(bundle.to_json(ENVELOPE))
TEXT = json.dumps(GOOD)


def judge(text: str) -> None:
    """What `verification.verify` asks of a publish attestation, short of a keyring and the files around it."""
    parsed = bundle.parse(text.encode("utf-8"))
    stated = statement.parse(parsed.envelope.payload)
    facts = statement.read_publish(stated)
    assert facts.repository == "radboud/prostate"
    if stated.digest != ARTIFACT:
        raise DigestMismatchError("another subject")
    if parsed.hint != SITE.fingerprint:
        raise UnknownSignerError("another key")
    dsse.verify(parsed.envelope, public_key=SITE.public)


def but(change: Callable[[Any, Any, Any], Any]) -> str:
    """The good bundle after a change of (bundle, envelope, verification material)."""
    copy = json.loads(TEXT)
    change(copy, copy["dsseEnvelope"], copy["verificationMaterial"])
    return json.dumps(copy)


def sig(value: bytes) -> str:
    """The good bundle with another signature."""
    return but(lambda b, e, v: e["signatures"][0].update(sig=b64(value)))


def signed(payload: bytes, *, kind: str = dsse.INTOTO, over: bytes | None = None) -> str:
    """A bundle of another payload, with a signature over its PAE or over other bytes."""
    signature = SITE.sign(over if over is not None else dsse.pae(kind, payload))
    return bundle.to_json(dsse.Envelope(payload, kind, signature, SITE.fingerprint)).decode()


def stated(**changes: Any) -> bytes:
    """The statement with other members."""
    return json.dumps({**json.loads(PAYLOAD), **changes}).encode()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


R, S = utils.decode_dss_signature(ENVELOPE.signature)
OTHER_HALF = utils.encode_dss_signature(R, ORDER_OF_P256 - S)
MINE = GOOD["dsseEnvelope"]["signatures"][0]
THEIRS = {"sig": b64(STRANGER.sign(ENVELOPE.pae)), "keyid": STRANGER.fingerprint}
ENCODED = GOOD["dsseEnvelope"]["payload"]
SUBJECT = {"name": "a", "digest": {"sha256": ARTIFACT}}
NESTED = PAYLOAD.replace(b'"subject":', b'"subject":[],"subject":')
WITH_SLASH = stated(note="???>>>~~~ÿÿÿ")

TAKEN = {
    "ok": TEXT,
    "indented, newline at the end": json.dumps(GOOD, indent=2) + "\n",
    "the older spelling of the media type": but(lambda b, e, v: b.update(mediaType=bundle.MEDIA_TYPES[1])),
    "the other half of s": sig(OTHER_HALF),
    "no tlogEntries": but(lambda b, e, v: v.pop("tlogEntries")),
    "no keyid": but(lambda b, e, v: e["signatures"][0].pop("keyid")),
    "empty keyid": but(lambda b, e, v: e["signatures"][0].update(keyid="")),
    "unknown member in the statement": signed(stated(extra=1)),
    "unknown member in the predicate": signed(stated(predicate={**FACTS, "extra": 1})),
    "subject without a name": signed(stated(subject=[{"digest": {"sha256": ARTIFACT}}])),
    "statement that is not canonical JSON": signed(json.dumps(json.loads(PAYLOAD), indent=3).encode()),
}

REFUSED: dict[str, tuple[str, type[ReleaseRefusedError]]] = {
    "bit of the payload": (TEXT.replace(ENCODED, b64(PAYLOAD.replace(b"1.0.0", b"1.0.1"))), BadSignatureError),
    "signature by a stranger": (sig(STRANGER.sign(ENVELOPE.pae)), BadSignatureError),
    "signature over the payload": (signed(PAYLOAD, over=PAYLOAD), BadSignatureError),
    "PAE without the type": (signed(PAYLOAD, over=b"DSSEv1 %d %b" % (len(PAYLOAD), PAYLOAD)), BadSignatureError),
    "PAE of the base64": (signed(PAYLOAD, over=dsse.pae(dsse.INTOTO, ENCODED.encode())), BadSignatureError),
    "DER and a byte more": (sig(ENVELOPE.signature + b"\0"), BadSignatureError),
    "raw r and s": (sig(R.to_bytes(32, "big") + S.to_bytes(32, "big")), BadSignatureError),
    "empty signature": (sig(b""), BadSignatureError),
    "r and s are zero": (sig(utils.encode_dss_signature(0, 0)), BadSignatureError),
    "payloadType changed": (but(lambda b, e, v: e.update(payloadType="application/json")), MalformedEnvelopeError),
    "payloadType other, signed so": (signed(PAYLOAD, kind="application/json"), MalformedEnvelopeError),
    "no payloadType": (but(lambda b, e, v: e.pop("payloadType")), MalformedEnvelopeError),
    "no signature": (but(lambda b, e, v: e.update(signatures=[])), MalformedEnvelopeError),
    "the same twice": (but(lambda b, e, v: e.update(signatures=[MINE, MINE])), MalformedEnvelopeError),
    "ours, then a foreign one": (but(lambda b, e, v: e.update(signatures=[MINE, THEIRS])), MalformedEnvelopeError),
    "a foreign one, then ours": (but(lambda b, e, v: e.update(signatures=[THEIRS, MINE])), MalformedEnvelopeError),
    "payload in base64url": (
        (lambda t: t.replace(b64(WITH_SLASH), b64(WITH_SLASH).replace("+", "-").replace("/", "_")))(signed(WITH_SLASH)),
        MalformedEnvelopeError,
    ),
    "payload unpadded": (
        (lambda p: signed(p).replace(b64(p), b64(p).rstrip("=")))(PAYLOAD + b" " * (2 - (len(PAYLOAD) + 1) % 3)),
        MalformedEnvelopeError,
    ),
    "newline in the base64": (TEXT.replace(ENCODED, ENCODED[:76] + "\\n" + ENCODED[76:]), MalformedEnvelopeError),
    "four newlines in the base64": (
        TEXT.replace(ENCODED, ENCODED[:76] + "\\n" * 4 + ENCODED[76:]),
        MalformedEnvelopeError,
    ),
    "junk in the base64": (TEXT.replace(ENCODED, ENCODED[:76] + "!*" + ENCODED[76:]), MalformedEnvelopeError),
    "hint of another key": (
        but(lambda b, e, v: v["publicKey"].update(hint="SHA256:" + "A" * 43)),
        MalformedBundleError,
    ),
    "hint __proto__": (but(lambda b, e, v: v["publicKey"].update(hint="__proto__")), MalformedBundleError),
    "hint and keyid of a stranger": (
        but(lambda b, e, v: (v["publicKey"].update(hint="__proto__"), e["signatures"][0].update(keyid="__proto__"))),
        UnknownSignerError,
    ),
    "no hint": (but(lambda b, e, v: v.update(publicKey={})), MalformedBundleError),
    "empty hint": (but(lambda b, e, v: v["publicKey"].update(hint="")), MalformedBundleError),
    "keyid of another key": (
        but(lambda b, e, v: e["signatures"][0].update(keyid=STRANGER.fingerprint)),
        MalformedBundleError,
    ),
    "two members named payload, the last good": (
        TEXT.replace('"payload":', '"payload": "AAAA", "payload":'),
        MalformedBundleError,
    ),
    "two members named payload, the last bad": (
        TEXT.replace('"payloadType":', '"payload": "AAAA", "payloadType":'),
        MalformedBundleError,
    ),
    "an object behind it": (TEXT + "\n{}", MalformedBundleError),
    "text behind it": (TEXT + " x", MalformedBundleError),
    "byte order mark": ("\ufeff" + TEXT, MalformedBundleError),
    "media type 0.9": (
        but(lambda b, e, v: b.update(mediaType=bundle.MEDIA_TYPE.replace("0.3", "0.9"))),
        MalformedBundleError,
    ),
    "media type with charset": (
        but(lambda b, e, v: b.update(mediaType=bundle.MEDIA_TYPE + "; charset=utf-8")),
        MalformedBundleError,
    ),
    "no media type": (but(lambda b, e, v: b.pop("mediaType")), MalformedBundleError),
    "unknown member": (but(lambda b, e, v: b.update(comment="x")), MalformedBundleError),
    "no verification material": (but(lambda b, e, v: b.pop("verificationMaterial")), MalformedBundleError),
    "a certificate": (but(lambda b, e, v: v.update(certificate={"rawBytes": "AA=="})), MalformedBundleError),
    "messageSignature beside": (but(lambda b, e, v: b.update(messageSignature={})), MalformedBundleError),
    "log entries that nobody here checks": (
        but(lambda b, e, v: v.update(tlogEntries=[{"logIndex": "1"}])),
        MalformedBundleError,
    ),
    "not an object": ("[]", MalformedBundleError),
    "two subjects' members": (signed(NESTED), MalformedStatementError),
    "statement v0.1": (signed(stated(_type="https://in-toto.io/Statement/v0.1")), MalformedStatementError),
    "no subject": (signed(stated(subject=[])), MalformedStatementError),
    "two subjects": (signed(stated(subject=[SUBJECT, SUBJECT])), MalformedStatementError),
    "digest in upper case": (
        signed(stated(subject=[{"name": "a", "digest": {"sha256": ARTIFACT.upper()}}])),
        MalformedStatementError,
    ),
    "digest of another kind": (
        signed(stated(subject=[{"name": "a", "digest": {"md5": "0" * 32}}])),
        MalformedStatementError,
    ),
    "relative predicate type": (signed(stated(predicateType="publish/v1")), MalformedStatementError),
    "text behind the statement": (signed(PAYLOAD + b"{}"), MalformedStatementError),
    "payload that is not JSON": (signed(b"hello"), MalformedStatementError),
    "predicate is no object": (signed(stated(predicate=[])), MalformedStatementError),
    "predicate of another kind": (signed(stated(predicateType=kinds.AUDIT.type)), WrongPredicateError),
    "another subject": (
        signed(stated(subject=[{"name": "a", "digest": {"sha256": "0" * 64}}])),
        DigestMismatchError,
    ),
}


@pytest.mark.parametrize("name", TAKEN)
def test_taken(name: str) -> None:
    judge(TAKEN[name])


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    text, expected = REFUSED[name]
    with pytest.raises(ReleaseRefusedError) as caught:
        judge(text)
    assert type(caught.value) is expected
    assert caught.value.message
    assert caught.value.rule != "refused"


def test_written_as_all_foreign_verifiers_take_it() -> None:
    written = bundle.to_json(ENVELOPE)
    assert written.endswith(b"}\n") and written.count(b"\n") == 1
    assert json.loads(written) == {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"publicKey": {"hint": SITE.fingerprint}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": b64(PAYLOAD),
            "payloadType": "application/vnd.in-toto+json",
            "signatures": [{"sig": b64(ENVELOPE.signature), "keyid": SITE.fingerprint}],
        },
    }


def test_large_bundle_is_refused() -> None:
    with pytest.raises(MalformedBundleError, match="at most"):
        bundle.parse(TEXT.encode() + b" " * bundle.MAX_BYTES)


@given(st.data())
def test_any_cut_or_changed_byte_is_refused_or_means_the_same(data: st.DataObject) -> None:
    raw = bytearray(TEXT.encode())
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] = data.draw(st.integers(0, 255))
    try:
        parsed = bundle.parse(bytes(raw))
        dsse.verify(parsed.envelope, public_key=SITE.public)
    except VerificationError:
        return
    assert parsed.envelope.identity == ENVELOPE.identity


# ── a registry's lists ─────────────────────────────────────────────────────────────────────────────────────────────

LISTS = list(kinds.LISTED.values())


def listed(kind: kinds.Kind, rows: object, *, digest: str = ARTIFACT) -> bytes:
    return json.dumps({kind.listed.about: digest, kind.listed.name: rows}).encode()


@pytest.mark.parametrize("kind", LISTS, ids=lambda kind: kind.listed.name)
def test_which_lists_of_statements_are_read(kind: kinds.Kind) -> None:
    row, most = {kind.listed.member: GOOD}, kind.listed.most
    assert bundle.rows(listed(kind, [row] * 2), kind, digest=ARTIFACT) == [row] * 2
    assert bundle.held_in(row, kind.listed.member).envelope == ENVELOPE
    assert len(bundle.rows(listed(kind, [{kind.listed.member: {}}] * most), kind, digest=ARTIFACT)) == most
    bad: list[Any] = [[{kind.listed.member: {}}] * (most + 1), {"0": row}, None, [row, 5], [row, [row]], ["bundle"]]
    if not kind.listed.removable:
        bad += [[row, {}], [{kind.listed.member: None}], [{kind.listed.member: TEXT}]]
    for data in (*(listed(kind, rows) for rows in bad), listed(kind, [row], digest="0" * 64), b"[]", b"", b"{"):
        with pytest.raises(ValueError, match=r"\w"):
            bundle.rows(data, kind, digest=ARTIFACT)
    long = listed(kind, [{kind.listed.member: {}, "x": "x" * kind.listed.bytes}])
    with pytest.raises(ValueError, match="bytes"):
        bundle.rows(long, kind, digest=ARTIFACT)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["bundle", "design", "x"]), inner),
    max_leaves=9,
)


@given(JSON, st.sampled_from(LISTS))
def test_any_list_is_read_or_refused(rows: Any, kind: kinds.Kind) -> None:
    try:
        found = bundle.rows(listed(kind, rows), kind, digest=ARTIFACT)
    except ValueError:
        return
    assert found == rows and all(isinstance(row, dict) for row in found)
    for row in found:
        if row.get(kind.listed.member) is not None:
            with pytest.raises(MalformedBundleError):
                bundle.held_in(row, kind.listed.member)
