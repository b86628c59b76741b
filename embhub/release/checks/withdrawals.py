"""Whether a release, or its bytes, was withdrawn: what the signed advisories kept with a keyring say of it. Pure.

A registry's advisories speak of the releases that its own keyring vouches for. Those of another pinned registry are
repeated as a note, for one registry may not silence the members of another.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from embhub.refusals import Finding
from embhub.trust import kept_advisories
from embhub.trust.keyring import Trust

if TYPE_CHECKING:
    from embhub.trust.advisories import Advisory

CHECK = "withdrawn"


def find(
    trusts: Iterable[Trust],
    *,
    signed_for: Trust,
    namespace: str,
    repository: str,
    version: str,
    digest: str,
    numbers: str | None,
) -> tuple[tuple[Advisory, ...], tuple[Finding, ...]]:
    """The advisories of the registry that vouches for a release, and findings for people.

    Args:
        trusts: every keyring at hand.
        signed_for: the one whose keyring knows the signer.
        namespace: the signer's.
        repository: `namespace/name` that was signed.
        version: that was signed.
        digest: SHA-256 of the embedding.
        numbers: the digest of its numbers; None where its file is not at hand.

    Raises:
        VerificationError: advisories are not what their registry's key signed.
    """
    own: tuple[Advisory, ...] = ()
    findings: list[Finding] = []
    for trust in dict.fromkeys([signed_for.registry, *(trust.registry for trust in trusts)]):
        place = next((t for t in (signed_for, *trusts) if t.registry == trust), signed_for)
        listed = kept_advisories.opened(place)
        if listed is None:
            continue
        hits = listed.against(
            namespace=namespace, repository=repository, version=version, digest=digest, numbers=numbers
        )
        if place.registry == signed_for.registry:
            own = hits
            findings += [Finding(CHECK, "warning", f"withdrawn: {hit.sentence}") for hit in hits]
            if not hits:
                said = f"not withdrawn, by the advisories of {listed.registry}, number {listed.number}"
                findings.append(Finding(CHECK, "ok", f"{said} of {listed.issued}"))
        else:
            words = (f"{listed.registry}, another registry, says: {hit.sentence}" for hit in hits)
            findings += [Finding(CHECK, "note", text) for text in words]
    if not findings:
        text = f"not known: no signed advisories of {signed_for.registry} are kept here"
        findings.append(Finding(CHECK, "note", text))
    return own, tuple(findings)
