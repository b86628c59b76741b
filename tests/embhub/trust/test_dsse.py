"""Envelopes against fixed vectors, and each way in which one can be odd."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embhub.refusals import BadSignatureError, MalformedEnvelopeError
from embhub.trust import bundle, dsse, p256
from tests.support.releases import SITE, STRANGER

VECTORS = json.loads((Path(__file__).parents[2] / "vectors/sigstore_bundles.json").read_text(encoding="utf-8"))[
    "vectors"
]


def ids(vector: dict[str, Any]) -> str:
    return str(vector["name"])


def test_pae_is_the_specifications_example() -> None:
    assert dsse.pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_pae_counts_bytes_not_characters() -> None:
    assert dsse.pae("é", "病".encode()) == b"DSSEv1 2 \xc3\xa9 3 \xe7\x97\x85"


@pytest.mark.parametrize("vector", VECTORS, ids=ids)
def test_vectors_of_other_makers(vector: dict[str, Any]) -> None:
    parsed = bundle.parse(json.dumps(vector["bundle"]).encode())
    assert parsed.envelope.payload == vector["statement"].encode()
    assert parsed.envelope.pae.hex() == vector["pae_hex"]
    assert parsed.envelope.identity == vector["pae_sha256"]
    assert parsed.envelope.signature.hex() == vector["signature_der_hex"]
    key = p256.read_public(vector["public_key_pem"])
    assert p256.fingerprint(key) == parsed.hint == vector["hint"]
    if vector["valid"]:
        dsse.verify(parsed.envelope, public_key=key)
    else:
        with pytest.raises(BadSignatureError):
            dsse.verify(parsed.envelope, public_key=key)


def test_both_halves_of_s_are_one_identity() -> None:
    low, high = (next(v for v in VECTORS if v["name"] == name) for name in ("publish", "publish-high-s"))
    assert low["signature_der_hex"] != high["signature_der_hex"]
    first, second = (bundle.parse(json.dumps(v["bundle"]).encode()).envelope for v in (low, high))
    assert first.identity == second.identity == hashlib.sha256(first.pae).hexdigest()


def test_signed_envelope_reads_back_and_verifies() -> None:
    envelope = dsse.sign(b"{}", key=SITE)
    again = dsse.parse(json.dumps(envelope.to_json()).encode())
    assert again == envelope
    dsse.verify(again, public_key=SITE.public)
    with pytest.raises(BadSignatureError):
        dsse.verify(again, public_key=STRANGER.public)


def test_signature_is_bound_to_the_payload_type() -> None:
    envelope = dsse.sign(b"{}", key=SITE, payload_type="application/json")
    moved = dsse.Envelope(envelope.payload, dsse.INTOTO, envelope.signature, envelope.keyid)
    with pytest.raises(BadSignatureError):
        dsse.verify(moved, public_key=SITE.public)


def test_payload_type_is_exact() -> None:
    envelope = dsse.sign(b"{}", key=SITE, payload_type="application/json")
    with pytest.raises(MalformedEnvelopeError, match="payloadType"):
        dsse.parse(envelope.to_json())
    assert dsse.parse(envelope.to_json(), payload_type="application/json") == envelope


def change(**members: Any) -> dict[str, Any]:
    return {**dsse.sign(b"{}", key=SITE).to_json(), **members}


SIGNATURE = dsse.sign(b"{}", key=SITE).to_json()["signatures"][0]


@pytest.mark.parametrize(
    "document",
    [
        change(signatures=[]),
        change(signatures=[SIGNATURE, SIGNATURE]),
        change(signatures={"0": SIGNATURE}),
        change(signatures=["x"]),
        change(signatures=[{**SIGNATURE, "cert": "x"}]),
        change(signatures=[{"keyid": "x"}]),
        change(signatures=[{**SIGNATURE, "keyid": None}]),
        change(extra=1),
        change(payload=7),
        change(payload="e30"),  # unpadded
        change(payload="e31="),  # bits left over: the same bytes as e30=
        change(payload="e30=\n"),
        change(payload="e3!*0="),
        change(payload="_-8="),  # base64url
        change(payload="é"),
        {"payload": "e30=", "signatures": [SIGNATURE]},
        [],
    ],
)
def test_malformed_envelopes_are_refused(document: Any) -> None:
    with pytest.raises(MalformedEnvelopeError):
        dsse.parse(json.dumps(document).encode())


@given(st.binary(max_size=100))
def test_no_signature_is_made_up(signature: bytes) -> None:
    with pytest.raises(BadSignatureError):
        p256.verify(b"message", signature=signature, key=SITE.public)
