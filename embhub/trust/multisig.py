"""A DSSE envelope that several keys sign: keyrings and changes of the root; a release's bundle keeps exactly one.

The specification allows several signatures in one envelope; what each covers is the same pre-authentication encoding.
A signature counts once for each key, whatever its key id says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from embhub.formats import strict_json
from embhub.formats.strict_json import JsonError
from embhub.refusals import BadSignatureError, MalformedEnvelopeError
from embhub.trust import dsse, p256

MOST_SIGNATURES = 16


@dataclass(frozen=True)
class Signature:
    """One signature and the key id that it claims, a hint."""

    value: bytes
    keyid: str


@dataclass(frozen=True)
class SignedDocument:
    """A payload and the signatures collected so far; nothing in it is trusted before `signers` counted them."""

    payload: bytes
    payload_type: str
    signatures: tuple[Signature, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 of the payload, in hex."""
        return hashlib.sha256(self.payload).hexdigest()

    def signed_by(self, key: dsse.Signer) -> SignedDocument:
        """The same with one more signature; one that this key made before is replaced."""
        others = tuple(held for held in self.signatures if held.keyid != key.fingerprint)
        value = key.sign(dsse.pae(self.payload_type, self.payload))
        return replace(self, signatures=(*others, Signature(value, key.fingerprint)))

    def signers(self, keys: Iterable[p256.PublicKey]) -> frozenset[str]:
        """Fingerprints of those of `keys` that signed."""
        return frozenset(p256.fingerprint(key) for key in keys if any(self.signatures_of(key)))

    def signatures_of(self, key: p256.PublicKey) -> Iterator[Signature]:
        """Those of its signatures that this key made."""
        pem = p256.public_pem(key)
        return (held for held in self.signatures if _is_made_by(pem, held.value, self.payload_type, self.payload))

    def to_json(self) -> dict[str, Any]:
        """The members of the JSON form."""
        rows = [{"sig": dsse.encode(held.value), "keyid": held.keyid} for held in self.signatures]
        return {"payload": dsse.encode(self.payload), "payloadType": self.payload_type, "signatures": rows}


@lru_cache(maxsize=64)
def _is_made_by(pem: str, signature: bytes, payload_type: str, payload: bytes) -> bool:
    """One command meets the same keyring kept here, fetched, and in the log. A signature that holds goes on holding."""
    try:
        p256.verify(dsse.pae(payload_type, payload), signature=signature, key=p256.read_public(pem))
    except BadSignatureError:
        return False
    return True


def parse(source: bytes | Mapping[str, Any], *, payload_type: str, unsigned: bool = False) -> SignedDocument:
    """Read an envelope with 1 to 16 signatures; with `unsigned` also one without.

    Raises:
        MalformedEnvelopeError: anything else, another payload type included.
    """
    try:
        document = strict_json.read_object(source, limit=2 * dsse.MAX_BYTES) if isinstance(source, bytes) else source
        members = strict_json.exact(document, {"payload", "payloadType", "signatures"}, what="the envelope")
        if members["payloadType"] != payload_type:
            raise JsonError(f"payloadType is not {payload_type}")
        rows = members["signatures"]
        if not isinstance(rows, list) or not (0 if unsigned else 1) <= len(rows) <= MOST_SIGNATURES:
            raise JsonError(f"there must be from 1 to {MOST_SIGNATURES} signatures")
        payload = dsse.decode(members["payload"])
        if len(payload) > dsse.MAX_BYTES:
            raise JsonError(f"its payload exceeds {dsse.MAX_BYTES:,} bytes")
        return SignedDocument(payload, payload_type, tuple(_signature(row) for row in rows))
    except JsonError as error:
        hint = "fetch the file again; if it stays so, its writer is at fault: ask the registry's operator"
        raise MalformedEnvelopeError(f"not a signature envelope that embhub reads: {error}", hint) from error


def _signature(row: Any) -> Signature:
    members = strict_json.exact(row, {"sig"}, optional={"keyid"}, what="the signature")
    keyid = members.get("keyid", "")
    if not isinstance(keyid, str):
        raise JsonError("keyid is not text")
    return Signature(dsse.decode(members["sig"]), keyid)
