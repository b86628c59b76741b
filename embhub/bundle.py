"""Sigstore bundle v0.3 in JSON, with a public-key hint in place of a certificate.

What is written here is what cosign, @sigstore/verify, securesystemslib, sigstore-python and sigstore_models all take
(docs/reference/attestations.md); what is read is no more than that.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from embhub import dsse, strict_json
from embhub.refusals import MalformedBundle

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
MEDIA_TYPES = (MEDIA_TYPE, "application/vnd.dev.sigstore.bundle+json;version=0.3")  # the specification's older spelling
MAX_BYTES = 64_000
_HINT = "fetch the bundle again; if it stays so, its writer is at fault: ask the publisher"


@dataclass(frozen=True)
class Bundle:
    """An envelope and the fingerprint under which its signer's key is to be looked up. Nothing here is trusted yet."""

    envelope: dsse.Envelope
    hint: str


def to_json(envelope: dsse.Envelope) -> bytes:
    """The bundle's file: one line of JSON and a newline."""
    document = {
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": {"publicKey": {"hint": envelope.keyid}, "tlogEntries": []},
        "dsseEnvelope": envelope.to_json(),
    }
    return json.dumps(document, separators=(",", ":")).encode("ascii") + b"\n"


def parse(data: bytes) -> Bundle:
    """Read a bundle's file.

    Raises:
        MalformedBundle: duplicate or unknown members, another media type, a key hint that is missing or at odds with
            the signature's, log entries (nothing here could check them), or a malformed envelope.
    """
    try:
        document = strict_json.read_object(data, limit=MAX_BYTES)
    except strict_json.JsonError as error:
        raise _malformed(str(error)) from error
    members = dsse.exact(document, {"mediaType", "verificationMaterial", "dsseEnvelope"}, what="the bundle")
    if members["mediaType"] not in MEDIA_TYPES:
        raise _malformed(f"mediaType is not {MEDIA_TYPE}")
    material = dsse.exact(
        members["verificationMaterial"], {"publicKey"}, optional={"tlogEntries"}, what="verificationMaterial"
    )
    hint = dsse.exact(material["publicKey"], {"hint"}, what="publicKey")["hint"]
    if not isinstance(hint, str) or not hint:
        raise _malformed("the key hint is not text")
    if material.get("tlogEntries", []) != []:
        raise _malformed("it carries log entries, which this version cannot check")
    envelope = dsse.parse(members["dsseEnvelope"])
    if envelope.keyid not in ("", hint):
        raise _malformed("keyid and hint name different keys")
    return Bundle(envelope, hint)


def _malformed(reason: str) -> MalformedBundle:
    return MalformedBundle(f"not a bundle that embhub reads: {reason}", _HINT)
