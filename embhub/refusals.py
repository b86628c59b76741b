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


class ReleaseRefusedError(VerificationError):
    """A release, bundle or keyring that must not be used. `findings` lists the checks made up to this one."""

    rule: ClassVar[str] = "refused"

    def __init__(self, message: str, hint: str = "", *, findings: tuple[Finding, ...] = ()) -> None:
        super().__init__(message, hint)
        self.findings = findings


class FileTooLargeError(ReleaseRefusedError):
    """A file exceeds what its kind may hold."""

    rule = "too-large"


class UnreadableArtifactError(ReleaseRefusedError):
    """The embedding of a signed release is missing or not a well-formed embedding."""

    rule = "artifact-structure"


class UnsignedError(ReleaseRefusedError):
    """There is no publish attestation."""

    rule = "unsigned"


class MalformedBundleError(ReleaseRefusedError):
    """Not a Sigstore bundle v0.3 of the strict kind that embhub reads."""

    rule = "bundle-malformed"


class MalformedEnvelopeError(MalformedBundleError):
    """Not a DSSE envelope with exactly one signature."""

    rule = "envelope-malformed"


class MalformedStatementError(MalformedBundleError):
    """Not an in-toto Statement v1 with one subject and the predicate that was asked for."""

    rule = "statement-malformed"


class WrongPredicateError(MalformedStatementError):
    """A well-formed statement of another kind than the place that it stands in."""

    rule = "predicate-type"


class CriticalAttestationError(ReleaseRefusedError):
    """An attestation of a type that this version does not know, which its signer marked critical."""

    rule = "critical-attestation"


class DigestMismatchError(ReleaseRefusedError):
    """The statement is about other bytes."""

    rule = "digest-mismatch"


class WrongKeyError(ReleaseRefusedError):
    """Not an ECDSA P-256 public key."""

    rule = "key-type"


class UnknownSignerError(ReleaseRefusedError):
    """The key that signed is in no trusted keyring."""

    rule = "unknown-signer"


class WrongNamespaceError(ReleaseRefusedError):
    """A known key that may not sign for this namespace."""

    rule = "wrong-namespace"


class WrongRoleError(ReleaseRefusedError):
    """A known key used for something that its role does not allow."""

    rule = "wrong-role"


class RevokedKeyError(ReleaseRefusedError):
    """A key that was revoked, and this signature of it counts no more."""

    rule = "revoked-key"


class BadSignatureError(ReleaseRefusedError):
    """The signature was not made by this key over these bytes."""

    rule = "bad-signature"


class WrongVersionError(ReleaseRefusedError):
    """Another version than the one that was asked for."""

    rule = "wrong-version"


class WrongRepositoryError(ReleaseRefusedError):
    """A statement made for another repository."""

    rule = "wrong-repository"


class WrongRegistryError(ReleaseRefusedError):
    """A statement made for another registry than the one whose keyring knows the signer."""

    rule = "wrong-registry"


class RollbackError(ReleaseRefusedError):
    """Older than what was seen before, or other content under a version that was seen before."""

    rule = "rollback"


class AnotherReleaseError(RollbackError):
    """Another embedding, another card, or no audit any more, under a version that was accepted before."""

    rule = "another-release"


class LockMismatchError(ReleaseRefusedError):
    """Another release than the one that a lock file names."""

    rule = "lock-mismatch"


class CardMismatchError(ReleaseRefusedError):
    """The card is missing, is not the signed one, or contradicts the embedding."""

    rule = "card-mismatch"


class SamplesMismatchError(ReleaseRefusedError):
    """The contact sheet of samples is missing, is not the one of the card, is of another embedding, or is not plain."""

    rule = "samples"


class WrongStudyError(ReleaseRefusedError):
    """The record of a study is missing, is not the one of the claim, or too few sites consented to the file."""

    rule = "study"


class MissingAuditError(ReleaseRefusedError):
    """An audit that the statement names, or one half of it, is not there."""

    rule = "audit-missing"


class AuditMismatchError(ReleaseRefusedError):
    """The audit report is not the signed one, is about something else, or contradicts itself."""

    rule = "audit-mismatch"


class ClaimMismatchError(ReleaseRefusedError):
    """Statement, card and file header do not make the same claim (base model, privacy)."""

    rule = "claim-mismatch"


class BrokenClaimError(ReleaseRefusedError):
    """A privacy claim promises more than its own parameters give."""

    rule = "claim-broken"


class SourceMismatchError(ReleaseRefusedError):
    """A ported embedding whose source does not support what it says, or is not the one that was signed."""

    rule = "source-mismatch"


class MalformedKeyringError(ReleaseRefusedError):
    """Not a keyring or trust export that embhub reads, or one that breaks the rules on keys."""

    rule = "keyring-malformed"


class MalformedKeyRequestError(ReleaseRefusedError):
    """Not a request to add a key that embhub reads, or one that names no possible namespace, role or registry."""

    rule = "key-request-malformed"


class WrongRootError(ReleaseRefusedError):
    """The keyring is signed by another root key than the pinned one."""

    rule = "wrong-root"


class MalformedAdvisoriesError(ReleaseRefusedError):
    """Not a signed list of advisories that embhub reads."""

    rule = "advisories-malformed"


class LogError(ReleaseRefusedError):
    """What a transparency log, or somebody in its name, says must not be relied on."""

    rule = "log"


class MalformedLogError(LogError):
    """Not a note, checkpoint, proof, tile or entry in its one canonical form."""

    rule = "log-malformed"


class WrongLogError(LogError):
    """A checkpoint of another log, or one that the log's own key did not sign."""

    rule = "wrong-log"


class BadCosignatureError(LogError):
    """A signature in the name of a known witness that this witness did not make over this checkpoint."""

    rule = "log-cosignature"


class NotIncludedError(LogError):
    """The proof does not lead from this entry to the log's root."""

    rule = "log-inclusion"


class ForkedLogError(LogError):
    """Two checkpoints of one log that no append-only log can have, or a smaller one that nothing explains."""

    rule = "log-forked"
