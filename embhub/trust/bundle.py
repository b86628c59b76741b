"""Sigstore bundle v0.3 in JSON, with a public-key hint in place of a certificate.

What is written here is what cosign, @sigstore/verify, securesystemslib, sigstore-python and sigstore_models all take
(docs/reference/attestations.md); what is read is no more than that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from embhub.formats import strict_json
from embhub.formats.strict_json import JsonError
from embhub.refusals import MalformedBundleError
from embhub.trust import dsse, kinds
from embhub.trust.statement import Statement
from embhub.trust.statement import parse as parse_statement

if TYPE_CHECKING:
    from embhub.trust.kinds import Kind

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
MEDIA_TYPES = (MEDIA_TYPE, "application/vnd.dev.sigstore.bundle+json;version=0.3")  # the specification's older spelling

MAX_BYTES = kinds.BUNDLE_BYTES


@dataclass(frozen=True)
class Bundle:
    """An envelope and the fingerprint under which its signer's key is to be looked up. Nothing here is trusted yet.

    `envelope.keyid` is that fingerprint too, also where the file leaves it out.
    """

    envelope: dsse.Envelope
    hint: str

    @cached_property
    def statement(self) -> Statement:
        """What the envelope holds, whoever signed it. Raises MalformedStatementError."""
        return parse_statement(self.envelope.payload)


def rows(data: bytes, kind: Kind, *, digest: str) -> Sequence[Mapping[str, Any]]:
    """The rows of a registry's list of statements of this kind about one digest, each with its bundle, unread.

    Raises:
        ValueError: not such a list, or one about other bytes.
    """
    listed, document = kind.listed, strict_json.read_object(data, limit=kind.listed.bytes)
    found = document.get(listed.name)
    if document.get(listed.about) != digest or not isinstance(found, list) or len(found) > listed.most:
        raise ValueError(f"it is no list of {listed.name} of this {listed.about}")
    for row in found:
        if not isinstance(row, Mapping) or not (listed.removable or isinstance(row.get(listed.member), Mapping)):
            raise ValueError(f"a row has no {listed.member}")
    return found


def held_in(row: Mapping[str, Any], member: str = "bundle") -> Bundle:
    """The bundle in such a row. Raises as `parse`."""
    return parse(json.dumps(row[member]).encode())


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
        MalformedBundleError: duplicate or unknown members, another media type, a key hint that is missing or at odds
        with
            the signature's, log entries (nothing here could check them), or a malformed envelope.
    """
    try:
        document = strict_json.read_object(data, limit=MAX_BYTES)
        members = strict_json.exact(document, {"mediaType", "verificationMaterial", "dsseEnvelope"}, what="the bundle")
        hint = _read_hint(members)
        envelope = dsse.parse(members["dsseEnvelope"])
        if envelope.keyid not in ("", hint):
            raise JsonError("keyid and hint name different keys")
    except JsonError as error:
        remedy = "fetch the bundle again; if it stays so, its writer is at fault: ask the publisher"
        raise MalformedBundleError(f"not a bundle that embhub reads: {error}", remedy) from error
    return Bundle(replace(envelope, keyid=hint), hint)


def _read_hint(members: Mapping[str, Any]) -> str:
    if members["mediaType"] not in MEDIA_TYPES:
        raise JsonError(f"mediaType is not {MEDIA_TYPE}")
    material = strict_json.exact(
        members["verificationMaterial"], {"publicKey"}, optional={"tlogEntries"}, what="verificationMaterial"
    )
    if material.get("tlogEntries", []) != []:
        raise JsonError("it carries log entries, which this version cannot check")
    hint = strict_json.exact(material["publicKey"], {"hint"}, what="publicKey")["hint"]
    if not isinstance(hint, str) or not hint:
        raise JsonError("the key hint is not text")
    return hint
