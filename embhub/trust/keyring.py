"""Who may sign what: a registry's keyring, signed by its root, whose fingerprint a site pins once.

Pure: bytes in, values out. `embhub.site.pins.trust_store` keeps the pins on disk, `keyring_document` says
what a keyring holds, `root_keys` what a root is and how it changes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import rfc8785

from embhub.formats import strict_json
from embhub.refusals import RollbackError, WrongRootError
from embhub.trust import dsse, kinds, multisig, p256, root_keys
from embhub.trust.keyring_document import (
    KEYRING_SCHEMA,
    KEYRING_TYPE,
    MAX_BYTES,
    REASONS,
    ROLES,
    TIMESTAMP_TYPE,
    Keyring,
    LogKey,
    Member,
    MemberKey,
    Purpose,
    Reason,
    Revocation,
    Role,
    check_address,
    keys_brought_back,
    parse_keyring,
)
from embhub.trust.multisig import SignedDocument
from embhub.trust.origin import origin_of
from embhub.trust.root_keys import NamedKey, RootChange, RootKeys, malformed

if TYPE_CHECKING:
    from embhub.trust.timestamp import Timestamp

__all__ = [
    "ADVISORIES_TYPE", "EXPORT_BYTES", "EXPORT_SCHEMA", "KEYRING_SCHEMA", "KEYRING_TYPE", "MAX_BYTES", "REASONS",
    "ROLES", "Keyring", "KnownKey", "LogKey", "Member", "MemberKey", "NamedKey", "Purpose", "Reason", "Revocation",
    "Role", "RootChange", "RootKeys", "Trust", "TrustExport", "as_sequence", "keys_brought_back", "open_export",
    "parse_export", "parse_keyring", "sign_keyring", "unsigned_keyring",
]  # fmt: skip

EXPORT_SCHEMA = "embhub.trust/2"
ADVISORIES_TYPE = kinds.ADVISORIES.type
EXPORT_BYTES = 5 * MAX_BYTES


@dataclass(frozen=True)
class KnownKey:
    """A key of a keyring: whose it is and what it may do. `added` is the time of its first role.

    What a revoked key signed counts as `embhub.trust.kinds` says, whatever its roles.
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
    """A keyring whose root signatures were checked. `registry` is the address that the keyring names.

    Attributes:
        root_fingerprint: of the root that signed it.
        keyring: who may sign what.
        timestamp: what its timestamp key last said is current, checked; None where there is none.
        advisories: the envelope that came with it, to be checked against the key of that purpose.
        digest: SHA-256 of the keyring's signed bytes.
        passed: fingerprints of the roots before, from the one that was pinned on.
        namespaces: what this keyring is asked about here; None for every namespace in it.
        unconfirmed: keys in it that are new here, and that no person confirmed.
        withdrawn_before: what was withdrawn under earlier keys for advisories, and binds on (`kept_advisories`).
    """

    registry: str
    root_fingerprint: str
    keyring: Keyring
    timestamp: Timestamp | None = None
    advisories: dsse.Envelope | None = None
    digest: str = ""
    passed: tuple[str, ...] = ()
    namespaces: frozenset[str] | None = None
    unconfirmed: frozenset[str] = frozenset()
    withdrawn_before: bytes | None = None

    @property
    def root_keys(self) -> tuple[NamedKey, ...]:
        """The root's keys; none in a keyring that a site made up for itself."""
        return self.keyring.root.keys if self.keyring.root else ()

    @property
    def threshold(self) -> int:
        """How many of them must sign."""
        return self.keyring.root.threshold if self.keyring.root else 0

    @property
    def expires(self) -> str:
        """Until when the keyring is current."""
        return self.keyring.expires

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
            if self.namespaces is not None and member.namespace not in self.namespaces:
                continue
            for fingerprint in dict.fromkeys(key.fingerprint for key in member.keys):
                rows = [key for key in member.keys if key.fingerprint == fingerprint]
                found[fingerprint] = KnownKey(
                    namespace=member.namespace,
                    name=member.name,
                    fingerprint=fingerprint,
                    public_key=p256.read_public(rows[0].public_key_pem),
                    roles=frozenset(role for role in ROLES if role in {row.role for row in rows}),
                    added=min(row.added for row in rows),
                    registry=self.registry,
                    revocation=self.keyring.revocation_of(fingerprint),
                )
        return found


@dataclass(frozen=True)
class TrustExport:
    """`embhub.trust/2`: a registry's own word on its root and keyring. Nothing in it is trusted yet."""

    registry: str
    keyring: SignedDocument
    roots: tuple[SignedDocument, ...] = ()
    timestamp: dsse.Envelope | None = None
    advisories: dsse.Envelope | None = None

    @cached_property
    def claimed(self) -> Keyring:
        """The keyring, whose signatures are not checked.

        Raises:
            MalformedKeyringError: it is malformed.
        """
        return parse_keyring(self.keyring.payload)

    @property
    def root(self) -> RootKeys:
        """The root that the keyring names."""
        if self.claimed.root is None:
            raise malformed("it names no root")
        return self.claimed.root

    @property
    def root_fingerprint(self) -> str:
        """What a person compares with what the registry's operator said by another way."""
        return self.root.fingerprint

    def to_bytes(self) -> bytes:
        """The JSON document, with a newline at its end."""
        document: dict[str, Any] = {
            "schema": EXPORT_SCHEMA,
            "registry": self.registry,
            "roots": [change.to_json() for change in self.roots],
            "keyring": self.keyring.to_json(),
        }
        for name, envelope in (("timestamp", self.timestamp), ("advisories", self.advisories)):
            if envelope is not None:
                document[name] = envelope.to_json()
        return rfc8785.dumps(document) + b"\n"


def unsigned_keyring(keyring: Keyring) -> SignedDocument:
    """The keyring as a document that waits for the root's signatures."""
    return SignedDocument(keyring.to_bytes(), KEYRING_TYPE)


def sign_keyring(keyring: Keyring, *, root_key: dsse.Signer) -> SignedDocument:
    """The keyring with the signature of one root key."""
    return unsigned_keyring(keyring).signed_by(root_key)


def parse_export(data: bytes) -> TrustExport:
    """Read the document that `embhub-registry trust export` prints.

    Raises:
        MalformedKeyringError: not such a document, or a malformed keyring in it.
        MalformedEnvelopeError: one of its envelopes is malformed.
    """
    try:
        document = strict_json.read_object(data, limit=EXPORT_BYTES)
    except strict_json.JsonError as error:
        raise malformed(str(error)) from error
    if document.get("schema") != EXPORT_SCHEMA or not {"registry", "keyring"} <= document.keys():
        raise malformed(f"not a {EXPORT_SCHEMA} document")
    registry = document["registry"]
    if not isinstance(registry, str):
        raise malformed("registry must be text")
    try:
        check_address(registry)
    except ValueError as error:
        raise malformed(str(error)) from error
    export = TrustExport(
        registry,
        multisig.parse(document["keyring"], payload_type=KEYRING_TYPE),
        root_keys.parse_chain(document.get("roots", [])),
        _envelope(document.get("timestamp"), TIMESTAMP_TYPE),
        _envelope(document.get("advisories"), ADVISORIES_TYPE),
    )
    export.root  # noqa: B018  # a keyring that is malformed, or names no root, is refused here
    return export


def open_export(export: TrustExport, *, root_fingerprint: str, minimum_version: int = 1) -> Trust:
    """Check an export against a pinned root.

    Args:
        root_fingerprint: what a person was told, or what was pinned before; never taken from the export itself. Where
            the registry has another root since, the signed changes that lead to it are followed.
        minimum_version: the highest keyring version seen before. It does not hold across a change of root.

    Raises:
        WrongRootError: another root, or a root key that is also a member's.
        BadSignatureError: too few of the root's keys signed, or another key signed the timestamp.
        MalformedKeyringError: the keyring is malformed or another registry's.
        RollbackError: the keyring is older than one seen before, or the parts of the export do not belong together.
    """
    keyring, root = export.claimed, export.root
    passed = root_keys.follow(export.roots, registry=export.registry, pinned=root_fingerprint, current=root)
    root.check(export.keyring, what=f"the keyring of {export.registry}")
    if keyring.registry != export.registry:
        raise malformed(f"it is the keyring of {keyring.registry}, not of {export.registry}")
    if root.fingerprints & keyring.fingerprints():
        raise WrongRootError("the root key is also a member's key", "the registry's operator has to separate the two")
    if keyring.version < minimum_version and not passed:
        raise RollbackError(
            f"the keyring of {export.registry} has version {keyring.version}, but {minimum_version} was seen before",
            "an old keyring may bring back a key that was withdrawn: ask the registry's operator",
        )
    return Trust(
        keyring.registry,
        root.fingerprint,
        keyring,
        timestamp=_open_timestamp(export),
        advisories=export.advisories,
        digest=export.keyring.digest,
        passed=passed,
    )


def as_sequence(trust: Trust | Sequence[Trust]) -> Sequence[Trust]:
    """One trust or several, as several."""
    return (trust,) if isinstance(trust, Trust) else tuple(trust)


def _envelope(document: Any, payload_type: str) -> dsse.Envelope | None:
    return None if document is None else dsse.parse(document, payload_type=payload_type)


def _open_timestamp(export: TrustExport) -> Timestamp | None:
    """The timestamp, which must speak of this very keyring and of these advisories."""
    key = export.claimed.online_key("timestamp")
    if export.timestamp is None:
        return None
    if key is None:
        raise malformed("it has a timestamp, and its keyring names no key for one")
    from embhub.trust import timestamp  # its models are built for nothing else

    stated = timestamp.parse(export.timestamp, public_key=key)
    keyring, origin = export.claimed, origin_of(export.registry)
    if stated.registry != origin:
        raise malformed(f"its timestamp is that of {ascii(stated.registry)[1:-1]}, not of {origin}")
    if (stated.keyring.version, stated.keyring.sha256) != (keyring.version, export.keyring.digest):
        raise _mixed(export, f"its timestamp names keyring {stated.keyring.version}, and this is {keyring.version}")
    shown = hashlib.sha256(export.advisories.payload).hexdigest() if export.advisories else None
    if shown != (stated.advisories.sha256 if stated.advisories else None):
        raise _mixed(export, "its timestamp names other advisories than the ones that came with it")
    return stated


def _mixed(export: TrustExport, what: str) -> RollbackError:
    return RollbackError(
        f"parts of different days, from {export.registry}: {what}",
        "somebody mixed old answers with new ones, or a proxy did: ask again, then the registry's operator",
    )
