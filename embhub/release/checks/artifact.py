"""Whether the embedding is the file that was signed, and what it then says of itself. Pure.

Its header is read last: what it claims is believed, or held against its publisher, only where the publisher signed it.
"""

from __future__ import annotations

from embhub.artifact.embedding import Embedding
from embhub.errors import ArtifactError, EmbhubError, PrivacyError
from embhub.formats import tensors
from embhub.formats.plain_text import join_alike
from embhub.privacy.claim_or_none import UnsupportedClaimError
from embhub.refusals import BrokenClaimError, DigestMismatchError, FileTooLargeError, Finding, UnreadableArtifactError
from embhub.release import files as release_files
from embhub.release.files import Release
from embhub.trust.statement import Statement

BROKEN_CLAIM = "do not rely on any privacy of this release, and inform its publisher"


def check_structure(release: Release, findings: list[Finding]) -> str:
    """Sizes, and that the embedding is a safetensors file; returns its SHA-256, lower-case hex.

    Raises:
        FileTooLargeError: a file exceeds what its kind may hold.
        UnreadableArtifactError: there is no embedding, or it is no safetensors file.
    """
    for name, held in release.files.items():
        if (limit := release_files.limit_of(name)) is not None and len(held) > limit:
            raise FileTooLargeError(f"{name} has more than {limit:,} bytes", "a release holds nothing of that size")
    release_files.check_count(release.files)
    data = release.files.get(release_files.EMBEDDING)
    if data is None:
        raise UnreadableArtifactError(f"there is no {release_files.EMBEDDING}", "fetch the release again")
    try:
        _ = release.container  # parsed here, kept for `open_embedding`
    except tensors.NotFiniteError:
        pass  # one byte changed on the way makes NaN of a number: the digest says so, else `open_embedding` refuses it
    except ArtifactError as error:
        raise _unreadable(error) from error
    findings.append(Finding("structure", "ok", f"a safetensors file of {len(data):,} bytes"))
    return release_files.digest(data)


def check_digest(signed: Statement, digest: str, findings: list[Finding]) -> None:
    """Raises DigestMismatchError where the statement is about other bytes than those with this SHA-256."""
    if signed.digest != digest:
        raise DigestMismatchError(
            f"the statement is about {signed.digest[:16]}…, the embedding is {digest[:16]}…",
            "the embedding was changed after signing, or the attestation is another one's: fetch both again",
        )
    findings.append(Finding("digest", "ok", f"the statement is about these bytes: sha256 {digest}"))


def check_numbers(signed: Statement, embedding: Embedding) -> None:
    """Raises DigestMismatchError where the statement's second digest is not that of the embedding's numbers."""
    if signed.numbers is not None and signed.numbers != embedding.numbers:
        raise DigestMismatchError(
            f"the statement is about the numbers {signed.numbers[:16]}…, the embedding has {embedding.numbers[:16]}…",
            "the publisher, or the auditor, has to sign anew",
        )


def check_copies(release: Release, digest: str) -> None:
    """Raises DigestMismatchError where a further `.safetensors` file of the folder is another one."""
    for name, found in release.copies.items():
        if found != digest:
            where = ascii(name)[1:-1]
            raise DigestMismatchError(f"{where} is not the signed embedding", "remove it; nothing vouches for it")


def open_embedding(release: Release, findings: list[Finding]) -> Embedding:
    """The embedding, its header and privacy claim recomputed; to be called once a signature covers its digest.

    Raises:
        BrokenClaimError: the publisher signed a claim that its own parameters do not support.
        UnreadableArtifactError: the publisher signed something else than an embedding.
    """
    try:
        embedding = release.embedding
    except UnsupportedClaimError as error:
        raise BrokenClaimError(f"in the embedding's header: {error.message}", BROKEN_CLAIM) from error
    except (ArtifactError, PrivacyError) as error:
        raise _unreadable(error) from error
    if embedding.kind == "adapter":
        (part,) = embedding.vectors
        text = (
            f"a compact adapter of rank {part.count} ({embedding.target_modules}), for text of width {part.dim}:"
            " well-formed"
        )
        findings.append(Finding("embedding", "ok", text))
        return embedding
    rows = join_alike(f"{row.count} rows of {row.dim} for {row.encoder}" for row in embedding.vectors)
    findings.append(Finding("embedding", "ok", f"well-formed, {rows}"))
    return embedding


def _unreadable(error: EmbhubError) -> UnreadableArtifactError:
    hint = "fetch it again; if it stays so, ask the publisher"
    return UnreadableArtifactError(f"the embedding cannot be read: {error.message}", hint)
