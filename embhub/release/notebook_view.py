"""A verified release in one line, and as a notebook shows it. Everything that a publisher wrote is escaped."""

from __future__ import annotations

from typing import Protocol

from embhub.artifact.embedding import Embedding
from embhub.cards.card_schema import Card
from embhub.privacy import wording
from embhub.privacy.claim import PrivacyClaim
from embhub.refusals import Finding
from embhub.release.checks.signers import Signer
from embhub.release.checks.yanks import Yank
from embhub.release.policy import Policy

_SHORT = 16  # digits of a digest: all of them are in `digest`


class _Verified(Protocol):
    """What is shown of an `embhub.Verified`."""

    @property
    def embedding(self) -> Embedding: ...
    @property
    def card(self) -> Card: ...
    @property
    def repository(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def created(self) -> str: ...
    @property
    def signer(self) -> Signer: ...
    @property
    def policy(self) -> Policy: ...
    @property
    def findings(self) -> tuple[Finding, ...]: ...
    @property
    def yanked(self) -> Yank | None: ...
    @property
    def digest(self) -> str: ...
    def audit_in_words(self) -> str: ...


def in_one_line(release: _Verified) -> str:
    """What `repr` says: which release, whose, and what is to be known before it is used."""
    parts = [
        f"{release.embedding.token} for {release.embedding.base_name}",
        f"signed by {release.signer.namespace}",
        f"audit {release.audit_in_words()}",
        f"privacy {_privacy(release.embedding)}",
    ]
    if release.yanked is not None:
        parts.insert(0, "YANKED")
    warnings = sum(finding.outcome == "warning" for finding in release.findings)
    parts.append(f"{len(release.findings)} checks, {warnings} warnings")
    return f"<Verified {release.repository} {release.version}: {'; '.join(parts)}>"


def as_html(release: _Verified) -> str:
    """A small table for a notebook: warnings first, then the facts, and the checks on demand."""
    from embhub.pages.rendering import render

    embedding, card = release.embedding, release.card
    rows = {
        "Placeholder token": embedding.token,
        "Base model": embedding.base_name,
        "Description": card.description,
        "Signed by": f"{release.signer.name or release.signer.namespace}, {release.created}",
        "Audit": release.audit_in_words(),
        "Privacy": _privacy(embedding),
        "Licence": card.licence,
        "Intended use": card.intended_use,
        "Out of scope": card.out_of_scope,
        "SHA-256": f"{release.digest[:_SHORT]}…",
    }
    warnings = [finding for finding in release.findings if finding.outcome == "warning"]
    return str(render("embhub.release", "verified.html.j2", release=release, rows=rows, warnings=warnings))


def _privacy(embedding: Embedding) -> str:
    claim = embedding.privacy
    return wording.short(claim) if isinstance(claim, PrivacyClaim) else "none"
