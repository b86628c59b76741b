"""Whose key signed an attestation, and whether it may: looked up in a keyring by the bundle's hint. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from embhub.formats import names
from embhub.refusals import Finding, UnknownSignerError, WrongNamespaceError, WrongRegistryError, WrongRoleError
from embhub.trust import dsse, p256
from embhub.trust.bundle import Bundle
from embhub.trust.keyring import REASONS, KnownKey, Reason, Trust

_ROLE_NAMES = {"publish": "publishing key", "audit": "auditor's key"}


@dataclass(frozen=True)
class Signer:
    """Whose key signed, by the keyring of `registry`, in which role.

    `revoked_on` and `revoked_as` (superseded, lost, stolen) are set where the keyring revokes the key.
    """

    namespace: str
    name: str | None
    fingerprint: str
    role: Literal["publish", "audit"]
    registry: str
    revoked_on: str | None = None
    revoked_as: Reason | None = None

    def is_independent_of(self, publisher: Signer) -> bool:
        """Whether this is an auditor of another namespace."""
        return self.role == "audit" and self.namespace != publisher.namespace


def find_publisher(
    attestation: Bundle, *, registry: str, repository: str, trusts: Sequence[Trust], findings: list[Finding]
) -> tuple[Trust, Signer]:
    """Who signed a publish attestation, and by whose keyring: that of the `registry` which the statement names.

    What other registries say of the key does not count: none speaks for, or silences, another's member.

    Raises:
        UnknownSignerError: no keyring knows the key, or one of the registry removed it.
        WrongRegistryError: it was signed for another registry than those whose keyrings know the key.
        WrongNamespaceError, WrongRoleError: it may not publish in the repository's namespace.
        BadSignatureError: it did not sign this.
    """
    namespace = names.namespace_of(repository)
    for trust in trusts:
        if trust.origin == registry and attestation.hint in trust.keyring.removed():
            raise _removed(attestation, trust)
    found = [(trust, key) for trust in trusts if (key := trust.lookup(attestation.hint))]
    if not found:
        raise unknown(attestation, trusts)
    _check_signature(attestation, found[0][1])  # one fingerprint is one key, whichever keyring lists it
    check_origin(registry, trusts=[trust for trust, _ in found])
    found = [(trust, key) for trust, key in found if trust.origin == registry]
    own = [(trust, key) for trust, key in found if key.namespace == namespace]
    if not own:
        raise WrongNamespaceError(
            f"a key of {found[0][1].namespace} signed a release of {namespace}",
            f"only a publishing key of {namespace} may sign it: inform the registry's operator",
        )
    able = [(trust, key) for trust, key in own if "publish" in key.roles]
    if not able:
        raise _wrong_role(own[0][1], "publish")
    trust, key = max(able, key=_gravity)  # the first, unless another keyring of the same registry revokes the key
    text = f"{namespace}'s publishing key {key.fingerprint}, role publish, by the keyring of {trust.registry}"
    findings.append(Finding("signer", "ok", f"signed by {text} (version {trust.keyring.version})"))
    findings.append(Finding("signature", "ok", "the signature (ECDSA P-256, SHA-256) covers the statement"))
    return trust, _signer(key, "publish")


def check_origin(registry: str, *, trusts: Sequence[Trust]) -> None:
    """Whether a statement that names the origin `registry` counts by one of these keyrings.

    Raises:
        WrongRegistryError: it was made for another registry.
    """
    origins = sorted({trust.origin for trust in trusts})
    if registry not in origins:
        raise WrongRegistryError(
            f"it was signed for the registry {registry}, and the keyring that knows the signer is that of"
            f" {', '.join(origins)}",
            f"a release counts at the registry that it was signed for: trust {registry}, or ask the publisher to sign"
            " for this one too",
        )


def find_auditor(
    attestation: Bundle, *, registry: str, keyring: Trust, publisher: Signer, findings: list[Finding]
) -> Signer:
    """Who signed an audit attestation for `registry`: the publisher, or an auditor of the same keyring.

    Raises:
        UnknownSignerError: the keyring does not know the key.
        WrongRegistryError: it was signed for another registry.
        WrongNamespaceError, WrongRoleError: it is neither the publisher's nor an auditor's.
        BadSignatureError: it did not sign this.
    """
    key = keyring.lookup(attestation.hint)
    if key is None:
        raise unknown(attestation, (keyring,))
    _check_signature(attestation, key)
    check_origin(registry, trusts=(keyring,))
    if "audit" in key.roles:
        auditor = _signer(key, "audit")
    elif key.namespace != publisher.namespace:
        raise WrongNamespaceError(
            f"the audit for {publisher.namespace} is signed by {key.namespace}'s key, which has no auditor role",
            "the publisher's own key or an auditor's has to sign it",
        )
    elif "publish" in key.roles:
        auditor = _signer(key, "publish")
    else:
        raise _wrong_role(key, "audit")
    who = f"{auditor.namespace}'s {_ROLE_NAMES[auditor.role]} {key.fingerprint}"
    if auditor.is_independent_of(publisher):
        text = f"countersigned by {who}, independent of the publisher: it vouches for the report"
        findings.append(Finding("auditor", "ok", text))
    else:
        text = f"the site's own audit, signed by {who}; not independently countersigned"
        findings.append(Finding("auditor", "note", text))
    return auditor


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


def _signer(key: KnownKey, role: Literal["publish", "audit"]) -> Signer:
    signer = Signer(key.namespace, key.name, key.fingerprint, role, key.registry)
    if key.revocation is None:
        return signer
    return replace(signer, revoked_on=key.revocation.date, revoked_as=key.revocation.reason)


def _check_signature(attestation: Bundle, key: KnownKey) -> None:
    """Before anybody is named: until here the key is only what the file claims, and anybody can write a claim.

    Raises:
        BadSignatureError: the key did not sign this.
    """
    dsse.verify(attestation.envelope, public_key=key.public_key)


def _gravity(found: tuple[Trust, KnownKey]) -> int:
    revocation = found[1].revocation
    return -1 if revocation is None else REASONS.index(revocation.reason)


def unknown(attestation: Bundle, trusts: Sequence[Trust]) -> UnknownSignerError:
    """The refusal of a key that no keyring knows."""
    who = ascii(attestation.hint)[1:-1][:80]
    if not trusts:
        return UnknownSignerError(
            f"it claims to be signed with {who}, and no registry is trusted here", "embhub trust add REGISTRY"
        )
    where = ", ".join(trust.registry for trust in trusts)
    hint = "the key may be new (`embhub trust refresh`), withdrawn, or a stranger's: ask the registry's operator"
    return UnknownSignerError(f"it claims to be signed with {who}, which no keyring knows ({where})", hint)


def _removed(attestation: Bundle, trust: Trust) -> UnknownSignerError:
    revocation = trust.keyring.revocation_of(attestation.hint)
    when = f" on {revocation.date}" if revocation else ""
    return UnknownSignerError(
        f"it claims to be signed with {attestation.hint}, which was removed from the keyring of {trust.registry}{when}",
        "nothing that a removed key signed counts: ask the publisher to sign anew with another key",
    )


def _wrong_role(key: KnownKey, needed: str) -> WrongRoleError:
    held = ", ".join(sorted(key.roles))
    return WrongRoleError(
        f"{key.namespace}'s key {key.fingerprint} has the role {held}, and {needed} is needed",
        "the publisher has to sign with the right key, or the operator to give it the role",
    )
