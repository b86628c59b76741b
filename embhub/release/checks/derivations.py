"""Where a ported embedding comes from, and whether its source supports its privacy claim. Pure.

What is checked: that a publisher whom the reader trusts signed the source, by its digest, with exactly this claim. What
is not: that the port learned from the source's images alone. That rests on the word of the port's own publisher.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from embhub.artifact.derivation import TOOL
from embhub.artifact.embedding import Embedding
from embhub.cards.card_schema import Card
from embhub.errors import ArtifactError, PrivacyError
from embhub.privacy.claim_or_none import is_claim, parse_claim
from embhub.refusals import Finding, ReleaseRefusedError, SourceMismatchError
from embhub.release import files as release_files
from embhub.release.checks import signers, withdrawals
from embhub.release.files import Release
from embhub.trust import statement

if TYPE_CHECKING:
    from embhub.trust.advisories import Advisory
    from embhub.trust.bundle import Bundle
    from embhub.trust.keyring import Trust
    from embhub.trust.statement import Publish

CHECK = "source"
_HINT = "the publisher has to port the embedding again from a signed source, and sign a new version"


def check_link(release: Release, embedding: Embedding, card: Card) -> tuple[Bundle, Publish] | None:
    """All that can be checked of a port without a keyring; the source's attestation where the release holds it.

    Raises:
        SourceMismatchError: header, card and attestation name different sources, bases or claims; or a claim has no
            attestation of its source.
    """
    derived, attestation = embedding.derived_from, release.source_bundle
    if card.derived_from != derived:
        raise SourceMismatchError("header and card name different embeddings that it was ported from", _HINT)
    if derived is None:
        if attestation is not None:
            raise SourceMismatchError(
                f"the release holds {release_files.SOURCE_BUNDLE}, and the embedding is no port",
                "a release holds nothing of another one: remove the file, and sign anew",
            )
        return None
    if attestation is None:
        if is_claim(embedding.privacy):
            raise SourceMismatchError(
                f"the port claims privacy, and {release_files.SOURCE_BUNDLE} is not there: nothing supports the claim",
                _HINT,
            )
        return None
    signed = attestation.statement
    if signed.digest != derived.source:
        raise SourceMismatchError("the source's attestation is about another embedding than the header names", _HINT)
    source = statement.read_publish(signed)
    # Without a claim the images may come from a fine-tuned copy of that base; the header says from which.
    if is_claim(embedding.privacy) and (source.base.sha256 if source.base else None) != derived.source_base:
        raise SourceMismatchError("the source was signed for another base model than the header names", _HINT)
    if source.recipe.get("tool") == TOOL and is_claim(embedding.privacy):
        raise SourceMismatchError("the source is a port itself: a claim carries over one link alone", _HINT)
    try:
        claim = parse_claim(source.privacy)
    except (ArtifactError, PrivacyError) as error:
        raise SourceMismatchError(f"the source's privacy claim does not hold: {error.message}", _HINT) from error
    if embedding.privacy != claim:
        raise SourceMismatchError("the port makes another privacy claim than its source", _HINT)
    return attestation, source


def check(
    release: Release, embedding: Embedding, card: Card, *, trusts: Sequence[Trust]
) -> tuple[tuple[Advisory, ...], list[Finding]]:
    """The link, and who signed the source by the keyrings at hand.

    Returns:
        Advisories by which the source is withdrawn, and findings; nothing where the embedding is no port.

    Raises:
        SourceMismatchError: as `check_link`, or a claim whose source nobody signed that these keyrings know.
        RevokedKeyError: the key that signed the source was stolen.
    """
    found = check_link(release, embedding, card)
    if (derived := embedding.derived_from) is None:
        return (), []
    findings = [Finding(CHECK, "note", derived.sentence)]
    if found is None:
        text = f"the release does not hold {release_files.SOURCE_BUNDLE}: who signed the source is not known"
        return (), [*findings, Finding(CHECK, "note", text)]
    attestation, source = found
    said: list[Finding] = []
    try:
        keyring, signer = signers.find_publisher(
            attestation, registry=source.registry, repository=source.repository, trusts=trusts, findings=said
        )
    except ReleaseRefusedError as error:
        if is_claim(embedding.privacy):
            raise SourceMismatchError(
                f"the privacy claim is that of {source.repository}, whose signature counts for nothing here:"
                f" {error.message}",
                "trust the registry that the source was signed for, or ask the publisher to publish the source here",
            ) from error
        text = f"the source's signature counts for nothing here: {error.message}"
        return (), [*findings, Finding(CHECK, "warning", text)]
    if signer.revoked_as is not None:
        finding = signers.check_publishers_key(
            signer, created=source.created, auditor=None, countersigned_suffices=False
        )
        findings.append(Finding(CHECK, finding.outcome, finding.text))
    withdrawn, told = withdrawals.find(
        trusts, signed_for=keyring, namespace=signer.namespace, repository=source.repository, version=source.version,
        digest=derived.source, numbers=attestation.statement.numbers,
    )  # fmt: skip
    findings += [Finding(CHECK, "warning", f"of the source: {item.text}") for item in told if item.outcome == "warning"]
    findings += list(_say(embedding, source))
    return withdrawn, findings


def _say(embedding: Embedding, source: Publish) -> Iterator[Finding]:
    what = f"{source.repository} {source.version}, signed with the digest that the port names"
    if is_claim(embedding.privacy):
        yield Finding(
            CHECK,
            "ok",
            f"the privacy claim is that of {what}; it carries over by post-processing. That the port learned from"
            " nothing else is the word of the port's publisher, and cannot be seen in the file",
        )
    else:
        yield Finding(CHECK, "ok", f"the source is {what}; neither claims privacy")
