"""A keyring on its way to the root's keys: the file that an operator carries to where these are, and back. Pure.

It holds the keyring in force, the next one, and where the root changes, that change; signatures are collected in it.
Nothing in it is trusted: who signs checks it with `open_proposal` and reads the difference first.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace

from embhub.errors import UsageError
from embhub.formats import strict_json
from embhub.refusals import RollbackError, WrongRootError
from embhub.trust import differences, dsse, multisig, root_keys
from embhub.trust.keyring import KEYRING_TYPE, Keyring, RootChange, RootKeys, keys_brought_back, parse_keyring
from embhub.trust.multisig import SignedDocument
from embhub.trust.root_keys import malformed

SCHEMA = "embhub.proposal/1"
MAX_BYTES = 5_000_000


@dataclass(frozen=True)
class Proposal:
    """`before` is the signed keyring in force, if there is one; `change` is that of the root, if it changes."""

    keyring: SignedDocument
    before: SignedDocument | None = None
    change: SignedDocument | None = None

    def to_bytes(self) -> bytes:
        """The file."""
        parts = {"before": self.before, "keyring": self.keyring, "change": self.change}
        document = {"schema": SCHEMA, **{name: part.to_json() if part else None for name, part in parts.items()}}
        return json.dumps(document, indent=1).encode("ascii") + b"\n"


@dataclass(frozen=True)
class Opened:
    """A proposal whose parts fit together. `lines` is the difference in plain words."""

    proposal: Proposal
    keyring: Keyring
    root: RootKeys
    before: Keyring | None
    change: RootChange | None

    @property
    def lines(self) -> list[str]:
        """The difference to `before`. Who signs reads `keyring_review`'s, for whoever wrote the file chose `before`."""
        return [differences.dates(self.before, self.keyring), *differences.describe(self.before, self.keyring)]

    @property
    def needed(self) -> tuple[tuple[RootKeys, SignedDocument], ...]:
        """Each root whose threshold has to be met, and on which document."""
        needed: tuple[tuple[RootKeys, SignedDocument], ...] = ((self.root, self.proposal.keyring),)
        if self.change is not None and self.proposal.change is not None:
            needed += ((self.change.before, self.proposal.change), (self.change.after, self.proposal.change))
        return needed

    @property
    def missing(self) -> list[str]:
        """How many signatures are still missing, in words; empty once there are enough."""
        lines = []
        for root, document in self.needed:
            if (count := len(root.signers(document))) < root.threshold:
                what = "the keyring" if document is self.proposal.keyring else "the change of root"
                lines.append(f"{what} has {count} of {root.threshold} signatures by the root {root.fingerprint}")
        return lines

    def signed_by(self, key: dsse.Signer) -> Proposal:
        """The proposal with this key's signatures, wherever it has to sign.

        Raises:
            WrongRootError: it is no key of any root concerned.
        """
        signed = self.proposal
        if key.fingerprint in self.root.fingerprints:
            signed = replace(signed, keyring=signed.keyring.signed_by(key))
        changing = self.change.before.fingerprints | self.change.after.fingerprints if self.change else set()
        if signed.change is not None and key.fingerprint in changing:
            signed = replace(signed, change=signed.change.signed_by(key))
        if signed is self.proposal:
            raise WrongRootError(
                f"{key.fingerprint} is no key of this registry's root", "sign with a key that the proposal names"
            )
        return signed


def parse(data: bytes) -> Proposal:
    """Read a proposal's file.

    Raises:
        MalformedKeyringError: it is none. MalformedEnvelopeError: a part of it is malformed.
    """
    try:
        document = strict_json.read_object(data, limit=MAX_BYTES)
    except strict_json.JsonError as error:
        raise malformed(f"no proposal: {error}") from error
    if document.get("schema") != SCHEMA or "keyring" not in document:
        raise malformed(f"not a {SCHEMA} document")
    before, change = document.get("before"), document.get("change")
    return Proposal(
        multisig.parse(document["keyring"], payload_type=KEYRING_TYPE, unsigned=True),
        multisig.parse(before, payload_type=KEYRING_TYPE) if before is not None else None,
        multisig.parse(change, payload_type=root_keys.ROOT_TYPE, unsigned=True) if change is not None else None,
    )


def open_proposal(proposal: Proposal) -> Opened:
    """Check that the parts follow one another: the keyring in force is signed, and the next one succeeds it.

    Raises:
        BadSignatureError: the keyring in force is not signed by its root.
        WrongRootError: the root differs, and no change of it is proposed.
        RollbackError: the next keyring has no higher version, or leaves out a revocation or removal.
        MalformedKeyringError: a part is malformed, or belongs to another registry.
    """
    keyring = parse_keyring(proposal.keyring.payload)
    root = _root_of(keyring)
    if shared := root.fingerprints & keyring.fingerprints():
        raise WrongRootError(f"{min(shared)} is a key of the root and of a member", "the two have to be separate keys")
    change = root_keys.parse_change(proposal.change) if proposal.change is not None else None
    if change is not None and (change.registry != keyring.registry or change.after != root):
        raise malformed("the change of root leads to another root than the keyring's")
    if proposal.before is None:
        if change is not None:
            raise malformed("a first keyring has no root before it")
        return Opened(proposal, keyring, root, None, None)
    before = parse_keyring(proposal.before.payload)
    earlier = _root_of(before)
    earlier.check(proposal.before, what="the keyring in force")
    if before.registry != keyring.registry:
        raise malformed(f"it follows the keyring of {before.registry}, and is that of {keyring.registry}")
    if earlier != (change.before if change is not None else root):
        raise WrongRootError(
            f"the root is {earlier.fingerprint}, and the keyring names {root.fingerprint}",
            "a root is changed by `keyring propose --root-key`, signed by the old keys and by the new ones",
        )
    check_succession(before, keyring)
    return Opened(proposal, keyring, root, before, change)


def check_succession(before: Keyring, after: Keyring) -> None:
    """A keyring follows another with a higher version, and has every revocation and removal of it.

    Raises:
        RollbackError: it does not.
    """
    if after.version <= before.version:
        raise RollbackError(
            f"version {after.version} does not follow version {before.version}", "run `keyring propose` anew"
        )
    if brought_back := keys_brought_back(before, after):
        raise RollbackError(
            f"it leaves out that a key was revoked or removed: {', '.join(brought_back)}",
            "both are final: have the operator find out what happened",
        )


def merge(proposals: Iterable[Proposal]) -> Proposal:
    """One proposal with the signatures of copies that several persons signed.

    Raises:
        UsageError: they are copies of different proposals, or there is none.
    """
    first, *others = list(proposals)
    for other in others:
        if _payloads(other) != _payloads(first):  # `before` too: all have to have read one difference
            raise UsageError("these are copies of different proposals", "give the signed copies of one proposal")
        first = replace(first, keyring=_joined(first.keyring, other.keyring), change=_both(first.change, other.change))
    return first


def _both(one: SignedDocument | None, other: SignedDocument | None) -> SignedDocument | None:
    return _joined(one, other) if one is not None and other is not None else one


def _joined(one: SignedDocument, other: SignedDocument) -> SignedDocument:
    return replace(one, signatures=tuple(dict.fromkeys((*one.signatures, *other.signatures))))


def _payloads(made: Proposal) -> list[bytes | None]:
    return [part.payload if part else None for part in (made.keyring, made.before, made.change)]


def _root_of(keyring: Keyring) -> RootKeys:
    if keyring.root is None:
        raise malformed("it names no root")
    return keyring.root
