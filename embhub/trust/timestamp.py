"""The registry's daily word on what is current: which keyring, which advisories, until when. Pure.

One online key signs it and can do nothing else: it registers no key, publishes nothing and lifts no revocation. Who
shows an old keyring has no fresh timestamp for it, so a freeze is noticed when the last one ends.
"""

from __future__ import annotations

from typing import Annotated, Literal

import rfc8785
from pydantic import Field

from embhub.formats import instants
from embhub.trust import dsse, p256
from embhub.trust.keyring_document import TIMESTAMP_TYPE as TIMESTAMP_TYPE
from embhub.trust.root_keys import SignedModel, read_model

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class CurrentKeyring(SignedModel):
    """The keyring in force: its version, and the digest of its signed bytes."""

    version: Annotated[int, Field(ge=1, le=2**53 - 1)]
    sha256: Sha256


class CurrentAdvisories(SignedModel):
    """The newest advisories: their number, and the digest of their signed bytes."""

    number: Annotated[int, Field(ge=0, le=2**53 - 1)]
    sha256: Sha256


class Timestamp(SignedModel):
    """`embhub.timestamp/1`. `registry` is the registry's origin."""

    schema_: Literal["embhub.timestamp/1"] = Field(default="embhub.timestamp/1", alias="schema")
    registry: Annotated[str, Field(max_length=253)]
    keyring: CurrentKeyring
    advisories: CurrentAdvisories | None = None
    issued: instants.Instant
    expires: instants.Instant
    critical: tuple[str, ...] = ()

    def to_bytes(self) -> bytes:
        """Canonical JSON (RFC 8785)."""
        return rfc8785.dumps(self.model_dump(mode="json", by_alias=True))


def sign(timestamp: Timestamp, *, key: dsse.Signer) -> dsse.Envelope:
    """The timestamp in an envelope signed by the registry's timestamp key."""
    return dsse.sign(timestamp.to_bytes(), key=key, payload_type=TIMESTAMP_TYPE)


def parse(envelope: dsse.Envelope, *, public_key: p256.PublicKey) -> Timestamp:
    """Read a timestamp, its signature checked first.

    Raises:
        BadSignatureError: another key signed it. MalformedKeyringError: it is malformed.
    """
    dsse.verify(envelope, public_key=public_key)
    return read_model(Timestamp, envelope.payload, parts=(CurrentKeyring, CurrentAdvisories))
