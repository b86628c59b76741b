"""The root of a registry: k of n keys, named by one fingerprint, and the signed steps from one root to the next.

A site pins the fingerprint of a root. When the root changes, a statement signed by the old keys and by the new ones
leads from one to the other, so a site that pinned any earlier root follows, and nobody else can move it. Pure.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar

import rfc8785
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from embhub.formats import instants, strict_json
from embhub.formats.validation import explain
from embhub.refusals import BadSignatureError, MalformedKeyringError, WrongKeyError, WrongRootError
from embhub.trust import dsse, multisig, p256
from embhub.trust.multisig import SignedDocument

ROOT_TYPE = "application/vnd.embhub.root+json"
ROOT_SCHEMA = "embhub.root/1"
MOST_KEYS = 16
LONGEST_CHAIN = 64
Fingerprint = Annotated[str, Field(pattern=r"^SHA256:[A-Za-z0-9+/]{43}$")]


class SignedModel(BaseModel):
    """What a signed document holds: strict types; members that this version does not know are left out."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, populate_by_name=True, defer_build=True)


class NamedKey(SignedModel):
    """A public key with its own fingerprint."""

    fingerprint: Fingerprint
    public_key_pem: Annotated[str, Field(max_length=p256.MAX_PEM)]

    @model_validator(mode="after")
    def _is_named_by_itself(self) -> NamedKey:
        try:
            actual = p256.fingerprint(p256.read_public(self.public_key_pem))
        except WrongKeyError as error:
            raise ValueError(error.message) from error
        if actual != self.fingerprint:
            raise ValueError(f"the key is {actual}, not {self.fingerprint}")
        return self

    @property
    def public(self) -> p256.PublicKey:
        """The key itself."""
        return p256.read_public(self.public_key_pem)


M = TypeVar("M", bound=SignedModel)


class RootKeys(SignedModel):
    """The keys of a root, and how many of them must sign."""

    threshold: Annotated[int, Field(ge=1, le=MOST_KEYS)]
    keys: Annotated[tuple[NamedKey, ...], Field(min_length=1, max_length=MOST_KEYS)]

    @model_validator(mode="after")
    def _is_possible(self) -> RootKeys:
        if len({key.fingerprint for key in self.keys}) != len(self.keys):
            raise ValueError("a root key is listed twice")
        if self.threshold > len(self.keys):
            raise ValueError(f"the threshold is {self.threshold}, of {len(self.keys)} keys")
        return self

    @property
    def fingerprints(self) -> frozenset[str]:
        """Of every key."""
        return frozenset(key.fingerprint for key in self.keys)

    @property
    def fingerprint(self) -> str:
        """What a site pins: of one key its own fingerprint, of several that of the threshold and all of them."""
        if len(self.keys) == 1:
            return self.keys[0].fingerprint
        lines = [ROOT_SCHEMA, str(self.threshold), *sorted(self.fingerprints)]
        digest = hashlib.sha256("".join(f"{line}\n" for line in lines).encode("ascii")).digest()
        return "SHA256:" + base64.b64encode(digest).decode("ascii").rstrip("=")

    def in_words(self) -> str:
        """Such as `2 of 3 keys`."""
        return "1 key" if len(self.keys) == 1 else f"{self.threshold} of {len(self.keys)} keys"

    def signers(self, document: SignedDocument) -> frozenset[str]:
        """Which of these keys signed."""
        return document.signers(key.public for key in self.keys)

    def check(self, document: SignedDocument, *, what: str) -> None:
        """Whether enough of these keys signed.

        Raises:
            BadSignatureError: fewer than the threshold.
        """
        signed = self.signers(document)
        if len(signed) < self.threshold:
            raise BadSignatureError(
                f"{what} is signed by {len(signed)} of the root's keys, and {self.threshold} must sign"
                f" (root {self.fingerprint}, {self.in_words()})",
                "it was edited, damaged or forged: inform the registry's operator by telephone",
            )


class RootChange(SignedModel):
    """`embhub.root/1`: the root's keys before and after; it counts when both sign it, each by its own threshold."""

    schema_: Literal["embhub.root/1"] = Field(default="embhub.root/1", alias="schema")
    registry: str
    number: Annotated[int, Field(ge=1, le=LONGEST_CHAIN)]
    issued: instants.Instant
    before: RootKeys
    after: RootKeys
    critical: tuple[str, ...] = ()

    def to_bytes(self) -> bytes:
        """Canonical JSON (RFC 8785)."""
        return rfc8785.dumps(self.model_dump(mode="json", by_alias=True))


def one_key(key: p256.PublicKey) -> RootKeys:
    """A root of one key."""
    return RootKeys(threshold=1, keys=(named(key),))


def named(key: p256.PublicKey) -> NamedKey:
    """A key with its fingerprint."""
    return NamedKey(fingerprint=p256.fingerprint(key), public_key_pem=p256.public_pem(key))


def unsigned_change(change: RootChange) -> SignedDocument:
    """The change as a document that waits for its signatures."""
    return SignedDocument(change.to_bytes(), ROOT_TYPE)


def parse_change(document: SignedDocument) -> RootChange:
    """Read one step of the chain; its signatures are not checked here.

    Raises:
        MalformedKeyringError: it is malformed, or names a critical member that this version does not know.
    """
    return read_model(RootChange, document.payload)


def check_change(document: SignedDocument) -> RootChange:
    """Read one step of the chain, and check that old and new keys signed it.

    Raises:
        MalformedKeyringError: it is malformed. BadSignatureError: too few of either signed.
    """
    change = parse_change(document)
    change.before.check(document, what=f"the change of root {change.number}, by the old root,")
    change.after.check(document, what=f"the change of root {change.number}, by the new root,")
    return change


def follow(chain: Sequence[SignedDocument], *, registry: str, pinned: str, current: RootKeys) -> tuple[str, ...]:
    """Follow the chain from the root that a site pinned to the one that the keyring names.

    Returns:
        Fingerprints of the roots passed, the pinned one first; empty where the pinned one is the current one.

    Raises:
        WrongRootError: no signed path leads from one to the other.
        BadSignatureError, MalformedKeyringError: a step of the path is forged or malformed.
    """
    if pinned == current.fingerprint:
        return ()
    changes = [parse_change(document) for document in chain]
    start = next((index for index, change in enumerate(changes) if change.before.fingerprint == pinned), None)
    if start is None:
        raise _other_root(registry, current.fingerprint, pinned)
    passed: list[str] = []
    reached = pinned
    for index in range(start, len(changes)):
        change = check_change(chain[index])
        if change.registry != registry or change.before.fingerprint != reached or change.number != index + 1:
            raise MalformedKeyringError(
                f"the changes of the root of {registry} do not follow one another", "ask the registry's operator"
            )
        passed.append(reached)
        reached = change.after.fingerprint
        if reached in passed:
            raise MalformedKeyringError(f"the root of {registry} returns to an earlier one", "ask its operator")
    if reached != current.fingerprint:
        raise _other_root(registry, current.fingerprint, pinned)
    return tuple(passed)


def _other_root(registry: str, found: str, expected: str) -> WrongRootError:
    return WrongRootError(
        f"the root key of {registry} is {found}, expected {expected}",
        "ask the registry's operator for the fingerprint by telephone or in person before you trust another key",
    )


def read_model(kind: type[M], payload: bytes, *, parts: Sequence[type[BaseModel]] = ()) -> M:
    """A signed document's content; `parts` are the models inside it, whose members may be critical too.

    Raises:
        MalformedKeyringError: it is malformed, or names a critical member that this version does not know.
    """
    try:
        document = strict_json.read_object(payload, limit=dsse.MAX_BYTES)
        models: tuple[type[BaseModel], ...] = (kind, *parts)
        known = {name for model in models for name in _members(model)}
        check_critical(document.get("critical", []), known=known)
        return kind.model_validate_json(strict_json.canonical(document), by_name=False)
    except strict_json.JsonError as error:
        raise malformed(str(error)) from error
    except ValidationError as error:
        raise malformed(explain(error)) from error


def _members(kind: type[BaseModel]) -> set[str]:
    """The members of a document that this version reads."""
    return {field.alias or name for name, field in kind.model_fields.items()}


def check_critical(names: object, *, known: set[str]) -> None:
    """Unknown members are ignored, but for those that their writer marked as critical.

    Raises:
        JsonError: one of these is unknown here.
    """
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise strict_json.JsonError("critical is not a list of names")
    if unknown := sorted(set(names) - known):
        raise strict_json.JsonError(
            f"{ascii(unknown[0])[:60]} is critical, and this version of embhub does not know it"
        )


def malformed(reason: str) -> MalformedKeyringError:
    """The refusal of a keyring, or of what comes with one."""
    return MalformedKeyringError(
        f"not a keyring that embhub reads: {reason}", "get it anew with `embhub-registry trust export`"
    )


def parse_chain(rows: Any) -> tuple[SignedDocument, ...]:
    """The `roots` of a trust export.

    Raises:
        MalformedKeyringError: not a list, or too long a one. MalformedEnvelopeError: one is no envelope.
    """
    if not isinstance(rows, list) or len(rows) > LONGEST_CHAIN:
        raise malformed(f"roots is not a list of at most {LONGEST_CHAIN} changes")
    return tuple(multisig.parse(row, payload_type=ROOT_TYPE) for row in rows)
