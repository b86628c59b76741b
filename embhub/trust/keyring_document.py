"""What a keyring says: a registry's root and online keys, its members, their keys, and which of these are revoked.

Pure: bytes in, values out. Whose signature makes it count is checked in `keyring`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import rfc8785
from pydantic import AfterValidator, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from embhub.formats import instants
from embhub.formats.validation import Namespace, OneLine
from embhub.refusals import MalformedLogError
from embhub.trust import dsse, p256
from embhub.trust.origin import origin_of
from embhub.trust.root_keys import Fingerprint, NamedKey, RootKeys, SignedModel, malformed, read_model

if TYPE_CHECKING:
    from embhub.log.notes import VerifierKey

KEYRING_TYPE = "application/vnd.embhub.keyring+json"
KEYRING_SCHEMA = "embhub.keyring/2"
TIMESTAMP_TYPE = "application/vnd.embhub.timestamp+json"  # of what says that a keyring is current
MAX_BYTES = dsse.MAX_BYTES

Role = Literal["publish", "audit", "withdraw", "approve", "evaluate"]
Purpose = Literal["timestamp", "advisories"]  # of an online key
Reason = Literal["superseded", "lost", "stolen", "left"]
ROLES: tuple[Role, ...] = get_args(Role)
REASONS: tuple[Reason, ...] = ("superseded", "lost", "stolen", "left")  # the less counts, the further on


def check_address(text: str) -> str:
    scheme, separator, host = text.partition("://")
    if not separator or scheme not in ("http", "https") or not host or host.endswith("/"):
        raise ValueError("not the address of a registry, such as https://hub.example.org")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("not an address in printable ASCII")
    origin_of(text)  # raises where there is no host name
    return text


def _parse_key(text: str) -> VerifierKey:
    from embhub.log import notes  # not for a keyring that names no log

    return notes.parse_key(text)


def _log_key(text: str, kind: str = "ED25519") -> str:
    from embhub.log import notes

    try:
        key = notes.parse_key(text)
    except MalformedLogError as error:
        raise ValueError(error.message) from error
    if key.kind != getattr(notes, kind):
        raise ValueError("not the key of a log")
    return text


def _mldsa_key(text: str) -> str:
    return _log_key(text, "MLDSA44")


Display = Annotated[OneLine, Field(max_length=100)]
Address = Annotated[str, Field(max_length=200), AfterValidator(check_address)]


class MemberKey(NamedKey):
    """One role of one public key. A key that publishes and withdraws stands twice.

    A role that this version does not know gives the key nothing here.
    """

    role: Annotated[str, Field(pattern=r"^[a-z][a-z-]{0,31}$")]
    added: instants.Instant


class Member(SignedModel):
    """A namespace and the keys that speak for it."""

    namespace: Namespace
    name: Display | None = None
    keys: tuple[MemberKey, ...] = ()


class Revocation(SignedModel):
    """A key that signs no more: since when, and why. What it signed before counts as `embhub.trust.kinds` says.

    `left`: the key was removed, and belongs to no member any more. Nothing that it signed counts.
    """

    fingerprint: Fingerprint
    date: instants.Instant
    reason: Reason

    def is_milder_than(self, other: Revocation) -> bool:
        """Whether more of what the key signed would count."""
        later = self.date > other.date and self.reason in (other.reason, "superseded", "lost")
        return later or REASONS.index(self.reason) < REASONS.index(other.reason)


class LogKey(SignedModel):
    """The registry's transparency log: its public keys as C2SP verifier keys, under the registry's origin.

    `mldsa` is a second key, of ML-DSA-44, that signs each checkpoint too.
    """

    vkey: Annotated[str, Field(max_length=400), AfterValidator(_log_key)]
    mldsa: Annotated[str, Field(max_length=2_400), AfterValidator(_mldsa_key)] | None = None

    @model_validator(mode="after")
    def _one_name(self) -> LogKey:
        if self.mldsa is not None and _parse_key(self.mldsa).name != self.key.name:
            raise ValueError("the log's two keys have two names")
        return self

    @model_serializer(mode="wrap")
    def _without_nothing(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in write(self).items() if value is not None}

    @property
    def key(self) -> VerifierKey:
        """The key itself."""
        return _parse_key(self.vkey)


class Keyring(SignedModel):
    """`embhub.keyring/2`: every key of a registry's members. `version` only grows.

    A key belongs to one namespace, and an auditor's key has no other role. A revoked key stays among its member's keys,
    so that what it signed can be explained; a removed one does not, and its row alone is left. Until `expires` it is
    current. Members of the document that this version does not know are ignored, but for those named in `critical`.
    """

    schema_: Literal["embhub.keyring/2"] = Field(default="embhub.keyring/2", alias="schema")
    registry: Address
    version: Annotated[int, Field(ge=1, le=2**53 - 1)]
    issued: instants.Instant
    expires: instants.Instant
    root: RootKeys | None = None  # every signed keyring has one; those made up by a site for itself do not
    online: dict[Annotated[str, Field(max_length=40)], NamedKey] | None = None
    log: LogKey | None = None
    members: tuple[Member, ...] = ()
    revoked: tuple[Revocation, ...] = ()
    critical: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _keys_are_separate(self) -> Keyring:
        namespaces = [member.namespace for member in self.members]
        if len(set(namespaces)) != len(namespaces):
            raise ValueError("a namespace stands twice")
        owner: dict[str, str] = {}
        roles: dict[str, list[str]] = {}
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
        if listed := self.removed() & set(owner):
            raise ValueError(f"{min(listed)} is removed, and listed all the same")
        if strangers := set(revoked) - set(owner) - self.removed():
            raise ValueError(f"{min(strangers)} is revoked, and belongs to no namespace")
        return self

    @model_validator(mode="after")
    def _online_keys_do_one_thing(self) -> Keyring:
        online = [key.fingerprint for key in (self.online or {}).values()]
        if len(set(online)) != len(online):
            raise ValueError("one online key has two purposes")
        if shared := set(online) & (self.fingerprints() | (self.root.fingerprints if self.root else set())):
            raise ValueError(f"{min(shared)} is an online key, and a member's or the root's too")
        return self

    @model_validator(mode="after")
    def _log_has_its_name(self) -> Keyring:
        if self.log is not None and self.log.key.name != origin_of(self.registry):
            raise ValueError(f"its log is called {self.log.key.name}, not {origin_of(self.registry)}")
        return self

    @property
    def log_key(self) -> VerifierKey | None:
        """The key that signs the log's checkpoints, or None where the registry keeps no log."""
        return self.log.key if self.log else None

    @property
    def log_mldsa_key(self) -> VerifierKey | None:
        """The second key of the log, of ML-DSA-44, or None."""
        return _parse_key(self.log.mldsa) if self.log and self.log.mldsa else None

    def to_bytes(self) -> bytes:
        """Canonical JSON (RFC 8785), without the members that hold nothing."""
        unused = {name for name in ("root", "online", "log", "revoked", "critical") if not getattr(self, name)}
        return rfc8785.dumps(self.model_dump(mode="json", by_alias=True, exclude=unused))

    def fingerprints(self) -> set[str]:
        """Every key in it."""
        return {key.fingerprint for member in self.members for key in member.keys}

    def online_key(self, purpose: Purpose) -> p256.PublicKey | None:
        """The key that signs `timestamp` or `advisories`, or None."""
        found = (self.online or {}).get(purpose)
        return found.public if found else None

    def stolen(self) -> frozenset[str]:
        """Fingerprints of keys that were reported stolen."""
        return frozenset(row.fingerprint for row in self.revoked if row.reason == "stolen")

    def removed(self) -> frozenset[str]:
        """Fingerprints of keys that were taken out."""
        return frozenset(row.fingerprint for row in self.revoked if row.reason == "left")

    def revocation_of(self, fingerprint: str) -> Revocation | None:
        """Why this key signs no more, or None."""
        return next((row for row in self.revoked if row.fingerprint == fingerprint), None)


def parse_keyring(payload: bytes) -> Keyring:
    """Read a keyring.

    Raises:
        MalformedKeyringError: not one, one that breaks the rules on keys and namespaces, or one with a critical member
            that this version does not know.
    """
    found = read_model(Keyring, payload, parts=(Member, MemberKey, Revocation, RootKeys, LogKey))
    if found.root is None:
        raise malformed("it names no root")
    return found


def keys_brought_back(before: Keyring, after: Keyring) -> list[str]:
    """Fingerprints of keys that `before` revoked or removed, and of which `after` says nothing, or something milder.

    A row never goes: a keyring without it would let the next one list the key again.
    """
    found = []
    for earlier in before.revoked:
        later = after.revocation_of(earlier.fingerprint)
        if later is None or later.is_milder_than(earlier):
            found.append(earlier.fingerprint)
    return found
