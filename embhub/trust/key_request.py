"""A request to add a key to a registry's keyring, signed by that key itself. Pure.

Without it an operator adds whatever public key they are handed. A registry could then list another organisation's key
as its own member's, and revoke it. The signature proves that the one who asks holds the key; registry, namespace and
role are in what is signed, so that a request counts nowhere else and for nothing else.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Protocol, get_args

import rfc8785

from embhub.errors import EmbhubError
from embhub.formats import instants, names, strict_json
from embhub.refusals import MalformedEnvelopeError, MalformedKeyRequestError, WrongKeyError
from embhub.trust import dsse, p256
from embhub.trust.keyring import Role
from embhub.trust.origin import origin_fault

SCHEMA = "embhub.key-request/1"
PAYLOAD_TYPE = "application/vnd.embhub.key-request+json"
MAX_BYTES = 16_000
_HINT = "the site has to write it again: `embhub key request NAMESPACE`"


@dataclass(frozen=True)
class KeyRequest:
    """Who asks for what: the registry's origin, namespace, role, public key in PEM, and when it was written (UTC)."""

    registry: str
    namespace: str
    role: Role
    public_key_pem: str
    created: str

    @property
    def fingerprint(self) -> str:
        """`SHA256:…` of the key."""
        return p256.fingerprint(p256.read_public(self.public_key_pem.encode()))


class RequestingKey(dsse.Signer, Protocol):
    """A key that signs, and shows its public half in PEM."""

    @property
    def public_pem(self) -> str: ...


def write(registry: str, namespace: str, role: Role, *, key: RequestingKey, now: datetime) -> bytes:
    """The file of a request, signed by the key itself.

    Raises:
        MalformedKeyRequestError: an origin, namespace or role that no registry would accept.
    """
    asked = KeyRequest(registry, namespace, role, key.public_pem, instants.write(now))
    payload = rfc8785.dumps({"schema": SCHEMA, **asdict(asked)})
    data = json.dumps(dsse.sign(payload, key=key, payload_type=PAYLOAD_TYPE).to_json(), indent=1).encode() + b"\n"
    parse(data)
    return data


def parse(data: bytes) -> KeyRequest:
    """Read a request and check its signature with the key that it is about.

    Raises:
        MalformedKeyRequestError: it is no such request, or has a member that is not of its form.
        BadSignatureError: another key signed it, or it was changed.
    """
    if len(data) > MAX_BYTES:
        raise _malformed(f"{len(data)} bytes, at most {MAX_BYTES} are read")
    try:
        envelope = dsse.parse(data, payload_type=PAYLOAD_TYPE)
        document = strict_json.read_object(envelope.payload, limit=MAX_BYTES)
        asked = _read(document)
        public_key = p256.read_public(asked.public_key_pem.encode())
    except (MalformedEnvelopeError, WrongKeyError) as error:
        raise _malformed(error.message) from error
    except strict_json.JsonError as error:
        raise _malformed(str(error)) from error
    dsse.verify(envelope, public_key=public_key)
    return asked


def is_request(data: bytes) -> bool:
    """Whether a file means to be a request rather than a bare key in PEM."""
    return data.lstrip().startswith(b"{")


def _read(document: dict[str, Any]) -> KeyRequest:
    members = dict(
        strict_json.exact(
            document, {"schema", "registry", "namespace", "role", "public_key_pem", "created"}, what="the request"
        )
    )
    if not all(isinstance(value, str) for value in members.values()) or members.pop("schema") != SCHEMA:
        raise strict_json.JsonError(f"it is not {SCHEMA}")
    fault = origin_fault(members["registry"]) or names.namespace_fault(members["namespace"])
    if members["role"] not in get_args(Role):
        fault = fault or f"{members['role'][:40]!r} is no role"
    if fault:
        raise strict_json.JsonError(fault)
    try:
        instants.read(members["created"])
    except (ValueError, EmbhubError) as error:
        raise strict_json.JsonError("created is no time") from error
    return KeyRequest(**members)


def _malformed(reason: str) -> MalformedKeyRequestError:
    return MalformedKeyRequestError(f"not a key request that embhub reads: {reason}", _HINT)
