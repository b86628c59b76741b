"""What an embedding is, at a glance, with the one thing that matters said first: whether all that is verified."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from embhub import pulling
from embhub.cards.card_schema import Card
from embhub.embedding import Embedding
from embhub.errors import ArtifactError, ConfigError, VerificationError
from embhub.formats.repetition import join_alike
from embhub.privacy import PrivacyClaim, parse_claim, plain
from embhub.release import Release


def show(target: str | Path, *, registry: str | None = None, token: str | None = None) -> dict[str, Any]:
    """Facts of a file, a folder or a repository, by name. Nothing is written.

    What does not verify is shown too, as claims: `verified` then says why not.

    Raises:
        UsageError, ArtifactError: there is nothing to show.
        RegistryError, VerificationError: a repository that cannot be fetched, or not verified.
    """
    if pulling.names_repository(target):
        fetched = pulling.fetch(str(target), registry=registry, token=token)
        facts = {"verified": "yes", "commit": fetched.commit, **describe(fetched.release)}
        return facts | {"audit status": fetched.verified.audit_in_words()}
    release = pulling.read_release(target)
    try:
        verified = pulling.verify_release(release, target=target)
    except (VerificationError, ArtifactError, ConfigError) as error:
        return {"verified": f"no: {error.message}", **describe(release)}
    return {"verified": "yes", **describe(release), "audit status": verified.audit_in_words()}


def describe(release: Release) -> dict[str, Any]:
    """Embedding, card and audit of a release, as far as they are there and can be read."""
    facts = describe_embedding(release.embedding)
    try:
        card = release.card
    except (ArtifactError, VerificationError):
        facts["card"] = "none"
    else:
        facts |= {
            "name": f"{card.name} {card.version}",
            "publisher": card.publisher,
            "description": card.description,
            "trained on": f"{card.n_images} images of {_patients(card)} patients",
            "licence": f"{card.licence} {card.licence_link}",
            "base licence": card.base_model.licence,
            "made for": card.intended_use,
            "not for": card.out_of_scope,
        }
    try:
        facts["audit"] = release.audit.statement if release.audit else "none"
    except ArtifactError as error:
        facts["audit"] = f"unreadable: {error.message}"
    return facts


def in_words(facts: dict[str, Any]) -> dict[str, Any]:
    """The same for a person: the privacy claim as sentences."""
    claim = parse_claim(facts["privacy"])
    if not isinstance(claim, PrivacyClaim):
        return facts | {"privacy": "none: trained without differential privacy"}
    return facts | {"privacy": "\n  ".join(claim.words())}


def _patients(card: Card) -> str:
    lower_bound = isinstance(card.privacy, PrivacyClaim) and isinstance(card.n_patients, int)
    return f"at least {card.n_patients}" if lower_bound else str(card.n_patients)


def describe_embedding(embedding: Embedding) -> dict[str, Any]:
    """What a person wants to know of an embedding first."""
    return {
        "token": embedding.token,
        "vectors": join_alike(f"{v.count} x {v.dim} {v.dtype} for {v.encoder}" for v in embedding.vectors),
        "base": embedding.base_name,
        "privacy": plain(embedding.privacy),
        "bytes": f"{len(embedding.data):,}",
        "sha256": embedding.digest,
    }
