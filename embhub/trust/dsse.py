"""DSSE v1 envelopes (https://github.com/secure-systems-lab/dsse): one payload, one signature.

What is signed is the pre-authentication encoding (PAE) of the payload and its type, never the JSON around it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from embhub.formats import strict_json
from embhub.formats.strict_json import JsonError
from embhub.refusals import MalformedEnvelopeError
from embhub.trust import p256

INTOTO = "application/vnd.in-toto+json"
MAX_BYTES = 1_000_000


class Signer(Protocol):
    """Something that signs: a key on disk, an agent, a token."""

    @property
    def fingerprint(self) -> str: ...

    @property
    def public_pem(self) -> str: ...

    def sign(self, message: bytes) -> bytes:
        """DER signature, ECDSA P-256 with SHA-256, over `message`."""
        ...


@dataclass(frozen=True)
class Envelope:
    """A payload with its one signature; nothing in it is trusted before `verify`. `keyid` is a hint, "" if absent."""

    payload: bytes
    payload_type: str
    signature: bytes
    keyid: str

    @property
    def pae(self) -> bytes:
        """The bytes that the signature covers."""
        return pae(self.payload_type, self.payload)

    @property
    def identity(self) -> str:
        """SHA-256 (hex) of the PAE: signatures are malleable and JSON has many spellings, this is neither."""
        return hashlib.sha256(self.pae).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """The members of the JSON form."""
        return {
            "payload": encode(self.payload),
            "payloadType": self.payload_type,
            "signatures": [{"sig": encode(self.signature), "keyid": self.keyid}],
        }


def pae(payload_type: str, payload: bytes) -> bytes:
    """DSSE v1 pre-authentication encoding; lengths count bytes."""
    kind = payload_type.encode("utf-8")
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def sign(payload: bytes, *, key: Signer, payload_type: str = INTOTO) -> Envelope:
    """An envelope of `payload` signed by `key`."""
    return Envelope(payload, payload_type, key.sign(pae(payload_type, payload)), key.fingerprint)


def verify(envelope: Envelope, *, public_key: p256.PublicKey) -> None:
    """Check the signature with a key that comes from a keyring, never from the envelope.

    Raises:
        BadSignatureError: not signed by this key.
    """
    p256.verify(envelope.pae, signature=envelope.signature, key=public_key)


def parse(source: bytes | Mapping[str, Any], *, payload_type: str = INTOTO) -> Envelope:
    """Read an envelope, from JSON bytes or from an object that was read strictly.

    Stricter than the specification, which leaves room for a second reader to differ: exactly one signature, base64
    in its one canonical spelling, no member beside those of the specification.

    Raises:
        MalformedEnvelopeError: anything else, another payload type included.
    """
    try:
        document = strict_json.read_object(source, limit=MAX_BYTES) if isinstance(source, bytes) else source
        return _read(document, payload_type=payload_type)
    except JsonError as error:
        hint = "fetch the file again; if it stays so, its writer is at fault: ask the publisher"
        raise MalformedEnvelopeError(f"not a signature envelope that embhub reads: {error}", hint) from error


def _read(document: Any, *, payload_type: str) -> Envelope:
    members = strict_json.exact(document, {"payload", "payloadType", "signatures"}, what="the envelope")
    if members["payloadType"] != payload_type:
        raise JsonError(f"payloadType is not {payload_type}")
    signatures = members["signatures"]
    if not isinstance(signatures, list) or len(signatures) != 1:
        raise JsonError("there must be exactly one signature")
    signature = strict_json.exact(signatures[0], {"sig"}, optional={"keyid"}, what="the signature")
    keyid = signature.get("keyid", "")
    if not isinstance(keyid, str):
        raise JsonError("keyid is not text")
    return Envelope(decode(members["payload"]), payload_type, decode(signature["sig"]), keyid)


def decode(value: object) -> bytes:
    """The bytes of canonical base64 text; JsonError for anything else."""
    if not isinstance(value, str):
        raise JsonError("base64 is not text")
    try:
        data = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise JsonError("base64 is damaged") from error
    if encode(data) != value:
        raise JsonError("base64 is not canonical")
    return data


def encode(data: bytes) -> str:
    """Canonical base64."""
    return base64.b64encode(data).decode("ascii")
