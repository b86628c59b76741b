"""What an embedding is, at a glance, with the one thing that matters said first: whether all that is verified."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from embhub.artifact.embedding import Embedding
from embhub.client.pulling import pull as pulling
from embhub.client.pulling.facts_in_words import spell_out
from embhub.errors import ArtifactError, ConfigError, VerificationError
from embhub.formats import names
from embhub.privacy.claim import plain
from embhub.release.checks.yanks import WHO
from embhub.release.files import Release
from embhub.release.verification import Verified


def show(target: str | Path, *, registry: str | None = None, token: str | None = None) -> dict[str, Any]:
    """Facts of a file, a folder or a repository. Nothing is written.

    What does not verify is shown too, as claims: `verified` then says why not.

    Args:
        target: A file, a folder, or `namespace/name`, or `hub:owner/name`.
        registry: Address of the registry. By default the setting `registry`.
        token: Access token. By default the one that `embhub login` stored.

    Returns:
        Plain data by the name of each fact.

    Raises:
        UsageError: There is nothing to show.
        ArtifactError: The file is no embedding.
        RegistryError: The repository cannot be fetched.
        VerificationError: The repository is not what a trusted publisher signed.

    Example:
        >>> import embhub
        >>> embhub.show("prostate-cspca.safetensors")["token"]
        '<cspca>'
    """
    if pulling.names_repository(target):
        fetched = pulling.fetch(str(target), registry=registry, token=token, fallbacks=True)
        return {**_answers_for(fetched.verified), "commit": fetched.commit, **describe(fetched.release)}
    if str(target).startswith(pulling.HUB):
        from embhub.client.pulling import hub_pulling

        pulling.check_no_registry(str(target), registry, token)
        fetched = hub_pulling.fetch(str(target))
        return {**_answers_for(fetched.verified), "commit": fetched.commit, **describe(fetched.release)}
    release = pulling.read_release(target)
    try:
        verified = pulling.verify_release(release, target=target)
    except (VerificationError, ArtifactError, ConfigError) as error:
        return {"verified": f"no: {error.message}", **describe(release)}
    return {**_answers_for(verified), **describe(release)}


def _answers_for(verified: Verified) -> dict[str, Any]:
    """Who signed, first; then what was taken back, who audited, and a publisher who is not the signer."""
    signer, member = verified.signer, verified.signer.name or verified.signer.namespace
    facts = {
        "verified": "yes",
        "signed by": f"{member} (namespace {signer.namespace}), key {signer.fingerprint}, role {signer.role}",
        "vouched for by": f"the keyring of {signer.registry}",
        "repository": f"{verified.repository} {verified.version}",
        "audit status": verified.audit_in_words(),
    }
    if verified.yanked is not None:
        said = verified.yanked.to_json()
        facts["yanked"] = f"{WHO.get(verified.yanked.by, '')} on {said['date']}: {said['reason']}".strip()
    if verified.withdrawn:
        facts["withdrawn"] = "; ".join(advisory.sentence for advisory in verified.withdrawn)
    heard = [*(audit.in_words() for audit in verified.others), *(lost.in_words() for lost in verified.lost)]
    if heard:
        facts["audits of these bytes"] = "; ".join(heard)
    if verified.evaluations:
        facts["evaluated by"] = "; ".join(one.in_words() for one in verified.evaluations)
    if names.is_another(verified.card.publisher, member):
        facts["beware"] = f"its card gives another publisher than the keyring: {verified.card.publisher!r}"
    return facts


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
            "trained on": {"images": card.images, "patients": card.patients},
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
    """The same for a person."""
    if "publisher" in facts:
        facts = {("publisher, by its card" if name == "publisher" else name): value for name, value in facts.items()}
    return spell_out(facts)


def describe_embedding(embedding: Embedding) -> dict[str, Any]:
    """What a person wants to know of an embedding first."""
    return {
        "token": embedding.token,
        **({"kind": embedding.kind, "target modules": embedding.target_modules} if embedding.target_modules else {}),
        "vectors": [
            {"encoder": one.encoder, "count": one.count, "dim": one.dim, "dtype": one.dtype}
            for one in embedding.vectors
        ],
        "base": embedding.base_name,
        **({"ported from": embedding.derived_from.to_dict()} if embedding.derived_from else {}),
        "privacy": plain(embedding.privacy),
        "bytes": len(embedding.data),
        "sha256": embedding.digest,
    }
