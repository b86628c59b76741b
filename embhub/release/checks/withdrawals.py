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
    from embhub.trust.advisories import Advisories, Advisory

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
    known = [signed_for, *(trust for trust in trusts if trust is not signed_for)]
    for registry in dict.fromkeys(trust.registry for trust in known):
        lists = _newest_first(trust for trust in known if trust.registry == registry)
        if not lists:
            continue
        listed = lists[0]
        lifted = {entry.id for entry in listed.entries if entry.withdrawn_on is not None}
        found = (
            hit for one in lists
            for hit in one.against(
                namespace=namespace, repository=repository, version=version, digest=digest, numbers=numbers
            )
        )  # fmt: skip
        hits = tuple({hit.id: hit for hit in found if hit.id not in lifted}.values())
        if registry == signed_for.registry:
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


def _newest_first(namesakes: Iterable[Trust]) -> list[Advisories]:
    """What binds by each list of one registry: it may be pinned at two addresses, of which one is late."""
    found = [(trust.keyring.version, listed) for trust in namesakes if (listed := kept_advisories.opened(trust))]
    return [listed for _, listed in sorted(found, key=lambda row: (row[0], row[1].number), reverse=True)]
