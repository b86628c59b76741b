"""Whether a release is older than what this site accepted before. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from embhub.artifact.embedding import Embedding
from embhub.formats import names
from embhub.refusals import Finding, RollbackError
from embhub.trust.keyring import Trust
from embhub.trust.statement import Publish

if TYPE_CHECKING:
    from embhub.site.seen import Sighting

CHECK = "version"


def check_version(publish: Publish, embedding: Embedding, *, seen: Sighting | None, keyring: Trust) -> Finding:
    """The signed version against the newest accepted before (`seen`), unless a key that was stolen signed that.

    A thief could have published version 999999, after which the publisher's own would be refused for ever.

    Raises:
        RollbackError: an older version, or other bytes under the same one.
    """
    if seen is None:
        return Finding(CHECK, "ok", f"version {publish.version}; none was seen here before")
    if seen.signer in keyring.keyring.stolen():
        text = f"version {publish.version}; version {seen.version}, accepted here before, was signed by a stolen key"
        return Finding(CHECK, "note", f"{text}, and counts no more")
    order, before = names.version_order(publish.version), names.version_order(seen.version)
    if order < before:
        raise RollbackError(
            f"version {publish.version} of {publish.repository}, but version {seen.version} was accepted here before",
            "the registry may be withholding the newer one: ask its operator, or the publisher",
        )
    if order == before and seen.digest != embedding.digest:
        raise RollbackError(
            f"another embedding under version {publish.version} of {publish.repository} than was accepted here before",
            "a publisher raises the version for new bytes: ask the publisher",
        )
    return Finding(CHECK, "ok", f"version {publish.version}, not older than {seen.version} seen here before")
