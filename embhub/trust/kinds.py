"""The kinds of statement: who may sign each, how large it is, and what it is worth once its key was revoked. Pure.

A new kind is a row here, a model of its facts, and what a reader concludes from them. What holds for every kind: only a
key counts that the registry's keyring holds, so that a removed key signed nothing. A statement counts at the registry
that it names; of a registered audit, the registry alone compares that. A registry takes nothing new that a revoked key
signed. Of its lists, what a stolen key signed counts for nothing (audits) or is left out (evaluations).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

from embhub.formats import instants
from embhub.refusals import (
    ReleaseRefusedError,
    RevokedKeyError,
    UnknownSignerError,
    WrongNamespaceError,
    WrongRegistryError,
    WrongRoleError,
)

if TYPE_CHECKING:
    from embhub.trust.keyring_document import Reason, Role

BUNDLE_BYTES = 64_000
MOST_DESIGNS = 64  # audits of one file that can be registered; a reader looks for as many notices

_Refusal = tuple[type[ReleaseRefusedError], str, str]  # class, message and hint
_OPERATOR, _APPROVED = "ask the registry's operator", "ask the release's publisher who approved it"
_DESIGNED = (
    WrongNamespaceError, "the audit for {of} was registered by {namespace}, which has no auditor's key",
    "fetch the release again; if it stays so, ask the publisher which audit was registered",
)  # fmt: skip
_WORDS: Mapping[str, _Refusal] = {
    "unknown": (
        UnknownSignerError, "it claims to be signed with {who}, which no keyring knows ({where})",
        "the key may be new (`embhub trust refresh`), withdrawn, or a stranger's: ask the registry's operator",
    ),
    "registry": (
        WrongRegistryError,
        "it was signed for the registry {registry}, and the keyring that knows the signer is that of {origins}",
        "a release counts at the registry that it was signed for: trust {registry}, or ask the publisher to sign for"
        " this one too",
    ),
    "role": (
        WrongRoleError, "{namespace}'s key {fingerprint} has the role {held}, and {needed} is needed",
        "the publisher has to sign with the right key, or the operator to give it the role",
    ),
}  # fmt: skip


class Revoked(Enum):
    """What a statement is worth for a reader once its key was revoked: one rule for each kind."""

    DATED = "good if signed, by its own word, before the key was replaced or lost; a stolen key's never counts"
    """No log dates a signature, and a thief writes any date: `embhub.release.checks.signers`."""
    VOUCHED = (
        "as DATED; a stolen key's release is usable, with a warning, where an independent auditor vouches for it and"
        " the policy accepts that"
    )
    KEPT = "good whatever became of the key"
    """An audit that was registered stays so: whoever reports a key as stolen could drop an audit otherwise."""
    NAMED = "good as long as the keyring names the key for this purpose: an earlier key's counts no more"

    def counts(self, reason: Reason | None, date: str | None, created: str | None) -> bool:
        """Whether a statement counts by its key alone, `created` by its own word; None: it is made now.

        `reason` and `date` are those of the key's revocation, None where there is none.
        """
        if reason is None or (self is Revoked.KEPT and reason != "left"):
            return True
        if self is Revoked.NAMED or created is None or reason in ("stolen", "left"):
            return False
        return instants.read(created) <= instants.read(date or created)


@dataclass(frozen=True)
class Listed:
    """A registry's list of these statements by the SHA-256 of what they are about, at `/embhub/v1/NAME/SHA256`.

    `about` is the member that names it: an `embedding`, or the fingerprint of a `base`. There are at most `most` rows
    and `bytes` bytes. In a row, `member` is the bundle, which is null where `removable` and an operator removed it.
    """

    name: str
    most: int
    bytes: int
    member: str = "bundle"
    removable: bool = False
    about: str = "embedding"


@dataclass(frozen=True, eq=False)
class Kind:
    """A kind of statement.

    Attributes:
        type: its predicate type, or the payload type of what is no in-toto statement.
        anywhere: roles by which a key may sign it about a release of any namespace, the first one asked for first.
        own: roles by which a key may sign it about a release of its own namespace.
        purpose: of the registry's own key that signs it, where one may.
        revoked: what it is worth once its key was revoked.
        every_keyring: whether the gravest revocation in several keyrings of one registry counts, not that in the first.
        one_form: whether a signature has to be in one of its two forms: the log would hold two entries of it otherwise.
        bytes: the most bytes of a bundle.
        listed: the registry's list of them; without a name where it has none.
        words: refusals that this kind says in words of its own.
    """

    type: str
    revoked: Revoked
    anywhere: tuple[Role, ...] = ()
    own: tuple[Role, ...] = ()
    purpose: str | None = None
    every_keyring: bool = False
    one_form: bool = False
    bytes: int = BUNDLE_BYTES
    listed: Listed = Listed("", most=0, bytes=0)
    words: Mapping[str, _Refusal] = field(default_factory=dict)

    def role_of(self, roles: Collection[Role], *, own: bool) -> Role | None:
        """The role by which a key with these roles may sign it; `own`: about a release of the key's namespace."""
        able = (*self.anywhere, *(self.own if own else ()))
        return next((role for role in able if role in roles), None)

    def refusal(self, what: str, **facts: Any) -> ReleaseRefusedError:
        """Why one is refused: `unknown` key, another `registry`, `namespace`, no `role`, key `revoked` or `removed`."""
        made, message, hint = self.words.get(what) or _WORDS[what]
        return made(message.format(**facts), hint.format(**facts))


PUBLISH = Kind(
    "https://embhub.org/attestation/publish/v1", Revoked.VOUCHED, own=("publish",), every_keyring=True,
    words={
        "namespace": (
            WrongNamespaceError, "a key of {namespace} signed a release of {of}",
            "only a publishing key of {of} may sign it: inform the registry's operator",
        ),
        "removed": (
            UnknownSignerError,
            "it claims to be signed with {who}, which was removed from the keyring of {where}{when}",
            "nothing that a removed key signed counts: ask the publisher to sign anew with another key",
        ),
    },
)  # fmt: skip
AUDIT = Kind(
    "https://embhub.org/attestation/mia-audit/v1", Revoked.DATED, anywhere=("audit",), own=("publish",),
    listed=Listed("audits", 50, 2_000_000),
    words={
        "namespace": (
            WrongNamespaceError, "the audit for {of} is signed by {namespace}'s key, which has no auditor role",
            "the publisher's own key or an auditor's has to sign it",
        ),
    },
)  # fmt: skip
DESIGN = Kind(
    "https://embhub.org/attestation/audit-design/v1", Revoked.KEPT, anywhere=("audit",), own=("publish",),
    one_form=True,
    listed=Listed("designs", 4 * MOST_DESIGNS, 2 * MOST_DESIGNS * BUNDLE_BYTES, member="design"),
    words={"namespace": _DESIGNED, "role": _DESIGNED},
)  # fmt: skip
NOTICE = replace(DESIGN, type="https://embhub.org/attestation/audit-notice/v1", listed=Kind.listed)
RESULT = replace(DESIGN, type="https://embhub.org/attestation/audit-result/v1", listed=Kind.listed)
APPROVAL = Kind(
    "https://embhub.org/attestation/approval/v1", Revoked.DATED, own=("approve",), purpose="advisories",
    words={
        "unknown": (UnknownSignerError, "the keyring does not know the key {who}", _APPROVED),
        "namespace": (WrongNamespaceError, "a key of {namespace} approved a release of {of}", _APPROVED),
        "role": (WrongRoleError, "the key {fingerprint} has no role to approve", _APPROVED),
        "revoked": (WrongRoleError, "the key {fingerprint} is out of use: {reason}", _APPROVED),
    },
)  # fmt: skip
"""By the approver's own key; or by the registry's word, for which the rule is `Revoked.NAMED`."""
EVALUATION = Kind(
    "https://embhub.org/attestation/evaluation/v1", Revoked.DATED, anywhere=("evaluate",), bytes=12_000,
    listed=Listed("evaluations", 50, 1_000_000, removable=True),
    words={
        "unknown": (UnknownSignerError, "no keyring here knows the key {who}", _OPERATOR),
        "registry": (WrongRegistryError, "it was signed for the registry {registry}", _OPERATOR),
        "role": (WrongRoleError, "the key {fingerprint} of {namespace} has no role that may sign it", _OPERATOR),
        "revoked": (RevokedKeyError, "the key {fingerprint} is out of use: {reason}", _OPERATOR),
    },
)  # fmt: skip
BASE_REPORT = replace(
    EVALUATION, type="https://embhub.org/attestation/base-report/v1", anywhere=("publish", "evaluate", "audit"),
    listed=Listed("base-reports", 50, 1_000_000, about="base"),
)  # fmt: skip
"""By any member: it is about a base that others made, and nothing follows from it."""
STUDY = Kind(
    "https://embhub.org/attestation/study/v1", Revoked.DATED, own=("publish",),
    words={
        **EVALUATION.words,
        "namespace": (WrongNamespaceError, "a key of {namespace} signed for {of} in a study", _OPERATOR),
    },
)  # fmt: skip
"""The proposal, by the namespace of the repository that the release goes to."""
STUDY_JOIN = replace(STUDY, type="https://embhub.org/attestation/study-join/v1", own=("approve",))
STUDY_WITHDRAWAL = replace(
    STUDY, type="https://embhub.org/attestation/study-withdrawal/v1", revoked=Revoked.KEPT, own=("approve", "publish")
)
"""Kept, because whoever reports a key as stolen could publish against a site's word otherwise."""
ADVISORIES = Kind(
    "application/vnd.embhub.advisories+json", Revoked.NAMED, purpose="advisories", bytes=1_500_000
)  # what was withdrawn under an earlier key binds on at sites that saw it: `embhub.trust.kept_advisories`

KINDS = (PUBLISH, AUDIT, DESIGN, NOTICE, RESULT, APPROVAL, EVALUATION, BASE_REPORT, STUDY, STUDY_JOIN,
         STUDY_WITHDRAWAL, ADVISORIES)  # fmt: skip
LISTED: Mapping[str, Kind] = {kind.listed.name: kind for kind in KINDS if kind.listed.name}
"""Those that a registry lists, by the name of the list."""
