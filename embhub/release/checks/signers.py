"""Whose key signed a statement, whether it may, and what that is worth where the key was revoked since. Pure.

Which roles may sign a kind of statement, and which rule holds once a key was revoked, is declared in
`embhub.trust.kinds`. A statement carries the date that its signer wrote, and a thief writes any date. So what a stolen
key signed counts for nothing; a key that was lost or replaced has no enemy behind it, and what it signed before stays
good, with a word on back-dating.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from embhub.formats import names
from embhub.refusals import Finding, Outcome, ReleaseRefusedError, RevokedKeyError, UnknownSignerError
from embhub.trust import dsse, kinds, p256
from embhub.trust.keyring import REASONS, KnownKey, Reason, Role, Trust

if TYPE_CHECKING:
    from embhub.trust.bundle import Bundle
    from embhub.trust.kinds import Kind

_Said = TypeVar("_Said")
PUBLISHER, AUDITOR = "revocation", "auditor-revocation"  # names of the findings
_ROLE_NAMES = {"publish": "publishing key", "audit": "auditor's key"}
_SIGN_ANEW = "the publisher signs the release anew with another key (`embhub sign --key NAME`), and pushes it again"
_BACK_DATING = (
    "no transparency log dates signatures, so a back-dated signature cannot be distinguished from an honest one"
)


@dataclass(frozen=True)
class Signer:
    """Whose key signed, by the keyring of `registry`, in which role.

    `revoked_on` and `revoked_as` (superseded, lost, stolen) are set where the keyring revokes the key.
    """

    namespace: str
    name: str | None
    fingerprint: str
    role: Role
    registry: str
    revoked_on: str | None = None
    revoked_as: Reason | None = None

    def is_independent_of(self, publisher: str) -> bool:
        """Whether this is an auditor of another namespace than `publisher`."""
        return self.role == "audit" and self.namespace != publisher


def find(
    attestation: Bundle, kind: Kind, *, trusts: Sequence[Trust], registry: str | None, of: str = ""
) -> tuple[Trust, KnownKey, Role]:
    """The key that signed a statement of this kind, the keyring that knows it, and the role by which it may sign.

    What other registries say of the key does not count: none speaks for, or silences, another's member.

    Args:
        attestation: the statement as it came; nothing in it is trusted.
        kind: what it has to be.
        trusts: every keyring at hand.
        registry: the origin that the statement names; None where the caller compares it.
        of: the namespace of the release that the statement is about.

    Raises:
        UnknownSignerError: no keyring knows the key, or one of the registry removed it.
        BadSignatureError: it did not sign this.
        WrongRegistryError: it was signed for another registry than those whose keyrings know the key.
        WrongNamespaceError, WrongRoleError: it may not sign this.
    """
    who = ascii(attestation.hint)[1:-1][:80]
    for trust in trusts if "removed" in kind.words else ():
        if trust.origin == registry and attestation.hint in trust.keyring.removed():
            revocation = trust.keyring.revocation_of(attestation.hint)
            when = f" on {revocation.date}" if revocation else ""
            raise kind.refusal("removed", who=who, where=trust.registry, when=when)
    found = [(trust, key) for trust in trusts if (key := trust.lookup(attestation.hint))]
    if not trusts:
        text = f"it claims to be signed with {who}, and no registry is trusted here"
        raise UnknownSignerError(text, "embhub trust add REGISTRY")
    if not found:
        raise kind.refusal("unknown", who=who, where=", ".join(trust.registry for trust in trusts))
    _check_signature(attestation, kind, found[0][1])  # one fingerprint is one key, whichever keyring lists it
    origins = ", ".join(sorted({trust.origin for trust, _ in found}))
    found = [row for row in found if registry in (None, row[0].origin)]
    if not found:
        raise kind.refusal("registry", registry=registry, origins=origins)
    found = found if kind.every_keyring else found[:1]
    able = [
        (trust, key, role)
        for trust, key in found
        if (role := kind.role_of(key.roles, own=key.namespace == of)) is not None
    ]
    if not able:
        own = [key for _, key in found if key.namespace == of]
        raise _wrong_key(kind, "namespace" if kind.own and not own else "role", (own or [found[0][1]])[0], of=of)
    return max(able, key=lambda row: _gravity(row[1]))  # the first, unless a later keyring revokes the key


def find_publisher(
    attestation: Bundle, *, registry: str, repository: str, trusts: Sequence[Trust], findings: list[Finding]
) -> tuple[Trust, Signer]:
    """Who signed a publish attestation, and by whose keyring: that of the `registry` which the statement names.

    Raises:
        ReleaseRefusedError: as `find`.
    """
    namespace = names.namespace_of(repository)
    trust, key, role = find(attestation, kinds.PUBLISH, trusts=trusts, registry=registry, of=namespace)
    text = f"{namespace}'s publishing key {key.fingerprint}, role publish, by the keyring of {trust.registry}"
    findings.append(Finding("signer", "ok", f"signed by {text} (version {trust.keyring.version})"))
    findings.append(Finding("signature", "ok", "the signature (ECDSA P-256, SHA-256) covers the statement"))
    return trust, _signer(key, role)


def find_auditor(
    attestation: Bundle, *, registry: str, trusts: Sequence[Trust], publisher: str, findings: list[Finding]
) -> Signer:
    """Who signed an audit attestation for `registry`: the publisher, a namespace, or an auditor of the same keyring.

    Raises:
        ReleaseRefusedError: as `find`.
    """
    _, key, role = find(attestation, kinds.AUDIT, trusts=trusts, registry=registry, of=publisher)
    auditor = _signer(key, role)
    who = f"{auditor.namespace}'s {_ROLE_NAMES[auditor.role]} {key.fingerprint}"
    if auditor.is_independent_of(publisher):
        text = f"countersigned by {who}, independent of the publisher: it vouches for the report"
        findings.append(Finding("auditor", "ok", text))
    else:
        text = f"the site's own audit, signed by {who}; not independently countersigned"
        findings.append(Finding("auditor", "note", text))
    return auditor


def check_in_use(kind: Kind, key: KnownKey, *, created: str | None) -> None:
    """Whether a statement counts that this key signed at `created`, by its own word; None: it is made now.

    Raises:
        ReleaseRefusedError: the key was revoked, and the kind's rule does not let it count.
    """
    revoked = key.revocation
    if revoked is not None and not kind.revoked.counts(revoked.reason, revoked.date, created):
        raise kind.refusal("revoked", fingerprint=key.fingerprint, reason=revoked.reason)


def last_words(
    statements: Sequence[_Said], *, of: Callable[[_Said], Hashable], order: Callable[[_Said], Any]
) -> list[_Said]:  # fmt: skip
    """Of each signer, as `of` names them, the last statement by `order`; the others' order stays."""
    last = {of(one): at for at, one in sorted(enumerate(statements), key=lambda row: order(row[1]))}
    return [statements[at] for at in sorted(last.values())]


def public_key_of(signer: Signer, keyring: Trust) -> p256.PublicKey:
    """The key of somebody whom this keyring was found to know."""
    key = keyring.lookup(signer.fingerprint)
    assert key is not None  # noqa: S101  # `find_publisher` looked it up there
    return key.public_key


def check_publisher(signer: Signer, publisher: str) -> Iterator[Finding]:
    """Whether the card names another publisher than the keyring knows: anybody can write any name on their card."""
    member = signer.name or signer.namespace
    if names.is_another(publisher, member):
        text = (
            f"the card gives {publisher!a} as publisher; by the keyring it was signed by {member} ({signer.namespace})"
        )
        yield Finding("publisher", "note", text)


def check_publishers_key(
    signer: Signer, *, created: str, auditor: Signer | None, countersigned_suffices: bool
) -> Finding:  # fmt: skip
    """What the publisher's revoked key means for a release that says it was signed at `created`.

    A stolen key's release may be used only where an independent auditor vouches for the same embedding under the same
    name and version, and the policy is content with that.

    Raises:
        RevokedKeyError: it may not be used.
    """
    who, rule = f"{signer.namespace}'s publishing key {signer.fingerprint}", kinds.PUBLISH.revoked
    if rule.counts(signer.revoked_as, signer.revoked_on, created):
        return _stays_good(PUBLISHER, signer, who, created)
    vouched = auditor is not None and auditor.is_independent_of(signer.namespace) and countersigned_suffices
    if auditor is not None and vouched and rule is kinds.Revoked.VOUCHED and signer.revoked_as == "stolen":
        text = (
            f"{who} was reported stolen on {signer.revoked_on}. {auditor.namespace} countersigned: that vouches for "
            "the embedding, its name, version and audit report, not for the card. Ask the publisher to sign anew"
        )
        return Finding(PUBLISHER, "warning", text)
    raise RevokedKeyError(_fault(signer, who, created), _SIGN_ANEW)


def check_auditors_key(auditor: Signer, *, created: str) -> Finding:
    """What the auditor's revoked key means for an attestation that says it was made at `created`.

    Raises:
        RevokedKeyError: it vouches for nothing.
    """
    who = f"{auditor.namespace}'s key {auditor.fingerprint}, which signed the audit attestation,"
    if kinds.AUDIT.revoked.counts(auditor.revoked_as, auditor.revoked_on, created):
        return _stays_good(AUDITOR, auditor, who, created)
    raise RevokedKeyError(
        _fault(auditor, who, created), "the auditor must sign its attestation anew with another key"
    )  # fmt: skip


def _signer(key: KnownKey, role: Role) -> Signer:
    revoked = key.revocation
    on, reason = (revoked.date, revoked.reason) if revoked else (None, None)
    return Signer(key.namespace, key.name, key.fingerprint, role, key.registry, revoked_on=on, revoked_as=reason)


def _check_signature(attestation: Bundle, kind: Kind, key: KnownKey) -> None:
    """Before anybody is named: until here the key is only what the file claims, and anybody can write a claim.

    Raises:
        BadSignatureError: the key did not sign this, or a registered audit's is not in its one form.
    """
    if not kind.one_form:
        dsse.verify(attestation.envelope, public_key=key.public_key)
        return
    from embhub.trust import audit_designs  # its models, where an audit was registered

    audit_designs.check_signature(attestation, key.public_key)


def _gravity(key: KnownKey) -> int:
    return -1 if key.revocation is None else REASONS.index(key.revocation.reason)


def _wrong_key(kind: Kind, what: str, key: KnownKey, *, of: str) -> ReleaseRefusedError:
    facts = {"namespace": key.namespace, "of": of, "fingerprint": key.fingerprint}
    return kind.refusal(what, **facts, held=", ".join(sorted(key.roles)), needed=(*kind.anywhere, *kind.own)[0])


def _fault(signer: Signer, who: str, created: str) -> str:
    if signer.revoked_as == "stolen":
        return (
            f"{who} was reported stolen on {signer.revoked_on}: its thief can sign anything, under any date, "
            "so what it signed is not to be trusted"
        )
    return f"{who} {_what(signer)} on {signer.revoked_on}, and signed this on {created}, by its own word"


def _stays_good(check: str, signer: Signer, who: str, created: str) -> Finding:
    outcome: Outcome = "note" if signer.revoked_as == "superseded" else "warning"
    return Finding(
        check,
        outcome,
        f"{who} {_what(signer)} on {signer.revoked_on}; what it signed before stays good. "
        f"This was signed on {created}, by its own word: {_BACK_DATING}",
    )


def _what(signer: Signer) -> str:
    return "was replaced" if signer.revoked_as == "superseded" else "was lost"
