"""Whether a release is older than what this site accepted before. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from embhub.artifact.embedding import Embedding
from embhub.formats import names
from embhub.refusals import Finding, RollbackError, WrongVersionError
from embhub.trust.keyring import Trust
from embhub.trust.statement import Publish

if TYPE_CHECKING:
    from embhub.site.seen import Sighting

CHECK = "version"


def check_version(
    publish: Publish, embedding: Embedding, *, seen: Sighting | None, keyring: Trust, requested: str | None = None
) -> Finding:
    """The signed version against the newest accepted before (`seen`), unless a key that was stolen signed that.

    A thief could have published version 999999, after which the publisher's own would be refused for ever. An older
    version is accepted, with a warning, where a person `requested` it by its version, now or earlier.

    Raises:
        WrongVersionError: another version than the requested one.
        RollbackError: an older version that nobody requested, or other bytes under a version seen before.
    """
    if requested is not None and publish.version != requested:
        raise WrongVersionError(
            f"version {requested} of {publish.repository} was requested, this is version {publish.version}",
            "the registry returned another release: inform its operator",
        )
    if seen is None:
        return Finding(CHECK, "ok", f"version {publish.version}; none was seen here before")
    if seen.signer in keyring.keyring.stolen():
        text = f"version {publish.version}; version {seen.version}, accepted here before, was signed by a stolen key"
        return Finding(CHECK, "note", f"{text}, and counts no more")
    order, before = names.version_order(publish.version), names.version_order(seen.version)
    if order < before and (requested is not None or publish.version in seen.pinned):
        if seen.pinned.get(publish.version, embedding.digest) != embedding.digest:
            raise _other_bytes(publish)
        text = (
            f"version {publish.version} is older than {seen.version}, the newest seen here; it was requested by version"
        )
        return Finding(CHECK, "warning", text)
    if order < before:
        raise RollbackError(
            f"version {publish.version} of {publish.repository}, but version {seen.version} was accepted here before",
            f"the registry may be withholding the newer one: ask its operator; on purpose, pull"
            f" {publish.repository}@{publish.version}",
        )
    if order == before and seen.digest != embedding.digest:
        raise _other_bytes(publish)
    return Finding(CHECK, "ok", f"version {publish.version}, not older than {seen.version} seen here before")


def _other_bytes(publish: Publish) -> RollbackError:
    return RollbackError(
        f"another embedding under version {publish.version} of {publish.repository} than was accepted here before",
        "a publisher raises the version for new bytes: ask the publisher",
    )
