"""Who may sign what: a registry's keyring, signed by its root key, whose fingerprint a site pins once.

Pure: bytes in, values out. `embhub.site.trust_store` keeps the pins on disk. A transparency log and a TUF repository
come later behind the same `Trust`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

import rfc8785
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from embhub.formats import instants, names, strict_json
from embhub.refusals import MalformedKeyringError, RollbackError, WrongKeyError, WrongRootError
from embhub.trust import dsse, p256
from embhub.trust.origin import origin_of

KEYRING_TYPE = "application/vnd.embhub.keyring+json"
KEYRING_SCHEMA = "embhub.keyring/1"
EXPORT_SCHEMA = "embhub.trust/1"
MAX_BYTES = dsse.MAX_BYTES

Role = Literal["publish", "audit", "withdraw"]
Reason = Literal["superseded", "lost", "stolen"]
REASONS: tuple[Reason, ...] = ("superseded", "lost", "stolen")  # from the lightest to the gravest


def _namespace(text: str) -> str:
    if fault := names.namespace_fault(text):
        raise ValueError(fault)
    return text


def _display(text: str) -> str:
    if not text.isprintable() or not text.strip():
        raise ValueError("not one line of printable text")
    return text


def _address(text: str) -> str:
    scheme, separator, host = text.partition("://")
    if not separator or scheme not in ("http", "https") or not host or host.endswith("/"):
        raise ValueError("not the address of a registry, such as https://hub.example.org")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("not an address in printable ASCII")
    origin_of(text)  # raises where there is no host name
    return text


Namespace = Annotated[str, AfterValidator(_namespace)]
Display = Annotated[str, Field(max_length=100), AfterValidator(_display)]
Address = Annotated[str, Field(max_length=200), AfterValidator(_address)]


Fingerprint = Annotated[str, Field(pattern=r"^SHA256:[A-Za-z0-9+/]{43}$")]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class MemberKey(_Model):
    """One role of one public key. A key that publishes and withdraws stands twice."""

    fingerprint: Fingerprint
    public_key_pem: Annotated[str, Field(max_length=p256.MAX_PEM)]
    role: Role
    added: instants.Instant

    @model_validator(mode="after")
    def _is_named_by_itself(self) -> MemberKey:
        try:
            actual = p256.fingerprint(p256.read_public(self.public_key_pem))
        except WrongKeyError as error:
            raise ValueError(error.message) from error
        if actual != self.fingerprint:
            raise ValueError(f"the key is {actual}, not {self.fingerprint}")
        return self


class Member(_Model):
    """A namespace and the keys that speak for it."""

    namespace: Namespace
    name: Display | None = None
    keys: tuple[MemberKey, ...] = ()


class Revocation(_Model):
    """A key that signs no more: since when, and why. What it signed before counts as `checks/revocations` says."""

    fingerprint: Fingerprint
    date: instants.Instant
    reason: Reason

    def is_milder_than(self, other: Revocation) -> bool:
        """Whether more of what the key signed would count."""
        return (-REASONS.index(self.reason), self.date) > (-REASONS.index(other.reason), other.date)


class Keyring(_Model):
    """`embhub.keyring/1`: every key of a registry's members. `version` only grows.

    A key belongs to one namespace, and an auditor's key has no other role. A revoked key stays among its member's keys,
    so that what it signed can be explained.
    """

    schema_: Literal["embhub.keyring/1"] = Field(default="embhub.keyring/1", alias="schema")
    registry: Address
    version: Annotated[int, Field(ge=1, le=2**53)]
    issued: instants.Instant
    members: tuple[Member, ...] = ()
    revoked: tuple[Revocation, ...] = ()

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)

    @model_validator(mode="after")
    def _keys_are_separate(self) -> Keyring:
        namespaces = [member.namespace for member in self.members]
        if len(set(namespaces)) != len(namespaces):
            raise ValueError("a namespace stands twice")
        owner: dict[str, str] = {}
        roles: dict[str, list[Role]] = {}
        for member in self.members:
            for key in member.keys:
                if owner.setdefault(key.fingerprint, member.namespace) != member.namespace:
                    raise ValueError(f"{key.fingerprint} is listed under two namespaces")
                roles.setdefault(key.fingerprint, []).append(key.role)
        for fingerprint, held in roles.items():
            if len(set(held)) != len(held):
                raise ValueError(f"{fingerprint} has one role twice")
            if "audit" in held and len(held) > 1:
                raise ValueError(f"{fingerprint} is an auditor's key and has another role")
        revoked = [revocation.fingerprint for revocation in self.revoked]
        if len(set(revoked)) != len(revoked):
            raise ValueError("a key is revoked twice")
        if strangers := set(revoked) - set(owner):
            raise ValueError(f"{min(strangers)} is revoked, and belongs to no namespace")
        return self

    def to_bytes(self) -> bytes:
        """Canonical JSON (RFC 8785); `revoked` appears with the first revocation, for older readers to refuse."""
        unused = None if self.revoked else {"revoked"}
        return rfc8785.dumps(self.model_dump(mode="json", by_alias=True, exclude=unused))

    def fingerprints(self) -> set[str]:
        """Every key in it."""
        return {key.fingerprint for member in self.members for key in member.keys}

    def stolen(self) -> frozenset[str]:
        """Fingerprints of keys that were reported stolen."""
        return frozenset(row.fingerprint for row in self.revoked if row.reason == "stolen")

    def revocation_of(self, fingerprint: str) -> Revocation | None:
        """Why this key signs no more, or None."""
        return next((row for row in self.revoked if row.fingerprint == fingerprint), None)


@dataclass(frozen=True)
class KnownKey:
    """A key of a keyring: whose it is and what it may do. `added` is the time of its first role.

    What a revoked key signed counts as `checks/revocations` says, whatever its roles.
    """

    namespace: str
    name: str | None
    fingerprint: str
    public_key: p256.PublicKey
    roles: frozenset[Role]
    added: str
    registry: str
    revocation: Revocation | None = None


@dataclass(frozen=True)
class Trust:
    """A keyring whose root signature was checked. `registry` is the address that the keyring names."""

    registry: str
    root_fingerprint: str
    keyring: Keyring

    @property
    def origin(self) -> str:
        """The host name of the registry, which the statements of its members name."""
        return origin_of(self.keyring.registry)

    def lookup(self, fingerprint: str) -> KnownKey | None:
        """The key of this fingerprint, or None."""
        return self._known.get(fingerprint)

    @cached_property
    def _known(self) -> dict[str, KnownKey]:
        found: dict[str, KnownKey] = {}
        for member in self.keyring.members:
            for fingerprint in dict.fromkeys(key.fingerprint for key in member.keys):
                rows = [key for key in member.keys if key.fingerprint == fingerprint]
                found[fingerprint] = KnownKey(
                    namespace=member.namespace,
                    name=member.name,
                    fingerprint=fingerprint,
                    public_key=p256.read_public(rows[0].public_key_pem),
                    roles=frozenset(row.role for row in rows),
                    added=min(row.added for row in rows),
                    registry=self.registry,
                    revocation=self.keyring.revocation_of(fingerprint),
                )
        return found


@dataclass(frozen=True)
class TrustExport:
    """`embhub.trust/1`: a registry's own word on its root key and keyring. Nothing in it is trusted yet."""

    registry: str
    root_key: p256.PublicKey
    keyring: dsse.Envelope

    @property
    def root_fingerprint(self) -> str:
        """What a person compares with what the registry's operator said by another way."""
        return p256.fingerprint(self.root_key)

    def to_bytes(self) -> bytes:
        """The JSON document, with a newline at its end."""
        document: dict[str, Any] = {
            "schema": EXPORT_SCHEMA,
            "registry": self.registry,
            "root_key": p256.public_pem(self.root_key),
            "keyring": self.keyring.to_json(),
        }
        return rfc8785.dumps(document) + b"\n"


def sign_keyring(keyring: Keyring, *, root_key: dsse.Signer) -> dsse.Envelope:
    """The keyring in an envelope signed by the registry's root key."""
    return dsse.sign(keyring.to_bytes(), key=root_key, payload_type=KEYRING_TYPE)


def parse_keyring(payload: bytes) -> Keyring:
    """Read a keyring.

    Raises:
        MalformedKeyringError: not one, or one that breaks the rules on keys and namespaces.
    """
    try:
        return Keyring.model_validate_json(_canonical(strict_json.read_object(payload, limit=MAX_BYTES)), by_name=False)
    except strict_json.JsonError as error:
        raise _malformed(str(error)) from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _malformed(f"{where + ': ' if where else ''}{first['msg']}") from error


def parse_export(data: bytes) -> TrustExport:
    """Read the document that `embhub-registry trust export` prints.

    Raises:
        MalformedKeyringError: not such a document.
        WrongKeyError: its root key is not ECDSA P-256.
    """
    try:
        document = strict_json.read_object(data, limit=2 * MAX_BYTES)
    except strict_json.JsonError as error:
        raise _malformed(str(error)) from error
    members = {"schema", "registry", "root_key", "keyring"}
    if set(document) != members or document["schema"] != EXPORT_SCHEMA:
        raise _malformed(f"not a {EXPORT_SCHEMA} document")
    registry, pem = document["registry"], document["root_key"]
    if not isinstance(registry, str) or not isinstance(pem, str):
        raise _malformed("registry and root_key must be text")
    try:
        _address(registry)
    except ValueError as error:
        raise _malformed(str(error)) from error
    return TrustExport(registry, p256.read_public(pem), dsse.parse(document["keyring"], payload_type=KEYRING_TYPE))


def open_export(export: TrustExport, *, root_fingerprint: str, minimum_version: int = 1) -> Trust:
    """Check an export against a pinned root key.

    Args:
        root_fingerprint: what a person was told, or what was pinned before; never taken from the export itself.
        minimum_version: the highest keyring version seen before.

    Raises:
        WrongRootError: another root key, or a root key that is also a member's.
        BadSignatureError: the keyring is not signed by the root key.
        MalformedKeyringError: the keyring is malformed or another registry's.
        RollbackError: the keyring is older than one seen before.
    """
    if export.root_fingerprint != root_fingerprint:
        raise WrongRootError(
            f"the root key of {export.registry} is {export.root_fingerprint}, expected {root_fingerprint}",
            "ask the registry's operator for the fingerprint by telephone or in person before you trust another key",
        )
    dsse.verify(export.keyring, public_key=export.root_key)
    keyring = parse_keyring(export.keyring.payload)
    if keyring.registry != export.registry:
        raise _malformed(f"it is the keyring of {keyring.registry}, not of {export.registry}")
    if root_fingerprint in keyring.fingerprints():
        raise WrongRootError("the root key is also a member's key", "the registry's operator has to separate the two")
    if keyring.version < minimum_version:
        raise RollbackError(
            f"the keyring of {export.registry} has version {keyring.version}, but {minimum_version} was seen before",
            "an old keyring may bring back a key that was withdrawn: ask the registry's operator",
        )
    return Trust(keyring.registry, root_fingerprint, keyring)


def keys_brought_back(before: Keyring, after: Keyring) -> list[str]:
    """Fingerprints of keys that `before` revoked and `after` lets count again, or for more. A revocation is final."""
    found = []
    for earlier in before.revoked:
        later = after.revocation_of(earlier.fingerprint)
        if later.is_milder_than(earlier) if later else earlier.fingerprint in after.fingerprints():
            found.append(earlier.fingerprint)
    return found


def as_sequence(trust: Trust | Sequence[Trust]) -> Sequence[Trust]:
    """One trust or several, as several."""
    return (trust,) if isinstance(trust, Trust) else tuple(trust)


def _canonical(document: dict[str, Any]) -> bytes:
    try:
        return rfc8785.dumps(document)
    except rfc8785.CanonicalizationError as error:
        raise strict_json.JsonError(str(error)) from error


def _malformed(reason: str) -> MalformedKeyringError:
    return MalformedKeyringError(
        f"not a keyring that embhub reads: {reason}", "get it anew with `embhub-registry trust export`"
    )
