"""Every way in which a release or a keyring is refused, and the findings that led there.

One class a reason, so that a caller, a registry and a test can tell them apart; `rule` is its name in reports.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from embhub.errors import VerificationError

Outcome = Literal["ok", "note", "warning", "failed"]


@dataclass(frozen=True)
class Finding:
    """One check that was made: its name, how it came out, and that in plain words."""

    check: str
    outcome: Outcome
    text: str


class Refusal(VerificationError):
    """A release, bundle or keyring that must not be used. `findings` lists the checks made up to this one."""

    rule: ClassVar[str] = "refused"

    def __init__(self, message: str, hint: str = "", *, findings: tuple[Finding, ...] = ()) -> None:
        super().__init__(message, hint)
        self.findings = findings


class TooLarge(Refusal):
    """A file exceeds what its kind may hold."""

    rule = "too-large"


class UnreadableArtifact(Refusal):
    """The embedding of a signed release is missing or not a well-formed embedding."""

    rule = "artifact-structure"


class Unsigned(Refusal):
    """There is no publish attestation."""

    rule = "unsigned"


class MalformedBundle(Refusal):
    """Not a Sigstore bundle v0.3 of the strict kind that embhub reads."""

    rule = "bundle-malformed"


class MalformedEnvelope(MalformedBundle):
    """Not a DSSE envelope with exactly one signature."""

    rule = "envelope-malformed"


class MalformedStatement(MalformedBundle):
    """Not an in-toto Statement v1 with one subject and the predicate that was asked for."""

    rule = "statement-malformed"


class WrongPredicate(MalformedStatement):
    """A well-formed statement of another kind than the place that it stands in."""

    rule = "predicate-type"


class DigestMismatch(Refusal):
    """The statement is about other bytes."""

    rule = "digest-mismatch"


class WrongKey(Refusal):
    """Not an ECDSA P-256 public key."""

    rule = "key-type"


class UnknownSigner(Refusal):
    """The key that signed is in no trusted keyring."""

    rule = "unknown-signer"


class WrongNamespace(Refusal):
    """A known key that may not sign for this namespace."""

    rule = "wrong-namespace"


class WrongRole(Refusal):
    """A known key used for something that its role does not allow."""

    rule = "wrong-role"


class RevokedKey(Refusal):
    """A key that was revoked, and this signature of it counts no more."""

    rule = "revoked-key"


class BadSignature(Refusal):
    """The signature was not made by this key over these bytes."""

    rule = "bad-signature"


class WrongRepository(Refusal):
    """A statement made for another repository."""

    rule = "wrong-repository"


class Rollback(Refusal):
    """Older than what was seen before, or other content under a version that was seen before."""

    rule = "rollback"


class CardMismatch(Refusal):
    """The card is missing, is not the signed one, or contradicts the embedding."""

    rule = "card-mismatch"


class SamplesMismatch(Refusal):
    """The contact sheet of samples is missing, is not the one of the card, is of another embedding, or is not plain."""

    rule = "samples"


class MissingAudit(Refusal):
    """An audit that the statement names, or one half of it, is not there."""

    rule = "audit-missing"


class AuditMismatch(Refusal):
    """The audit report is not the signed one, is about something else, or contradicts itself."""

    rule = "audit-mismatch"


class ClaimMismatch(Refusal):
    """Statement, card and file header do not make the same claim (base model, privacy)."""

    rule = "claim-mismatch"


class BrokenClaim(Refusal):
    """A privacy claim promises more than its own parameters give."""

    rule = "claim-broken"


class MalformedKeyring(Refusal):
    """Not a keyring or trust export that embhub reads, or one that breaks the rules on keys."""

    rule = "keyring-malformed"


class WrongRoot(Refusal):
    """The keyring is signed by another root key than the pinned one."""

    rule = "wrong-root"
