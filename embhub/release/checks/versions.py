"""Whether a release is older than what this site accepted before, or another one under the same version. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from embhub.artifact.embedding import Embedding
from embhub.formats import names
from embhub.refusals import AnotherReleaseError, Finding, RollbackError, WrongVersionError
from embhub.trust.keyring import Trust
from embhub.trust.statement import Publish

if TYPE_CHECKING:
    from embhub.site.memory.seen import Accepted, Sighting

CHECK = "version"
_FIRST_OF_A_COMMIT = re.compile(r"[0-9a-f]{7,39}")


def check_version(
    publish: Publish, embedding: Embedding, *, seen: Sighting | None, keyring: Trust, requested: str | None = None,
    pinned: bool = False, local: bool = False,
) -> Finding:  # fmt: skip
    """The signed version against those accepted before (`seen`), unless a key that was stolen signed those.

    A thief could have published version 999999, after which the publisher's own would be refused for ever. An older
    version is accepted, with a warning, in two cases: somebody asked for this very release, by version (`requested`)
    or by commit (`pinned`); or it lies on this disk (`local`), and is the one that was accepted here before.

    Raises:
        WrongVersionError: another version than the requested one.
        RollbackError: an older version that nobody requested.
        AnotherReleaseError: other bytes, another card or no audit, under a version that was accepted before.
    """
    if requested is not None and publish.version != requested:
        raise WrongVersionError(
            f"version {requested} of {publish.repository} was requested, this is version {publish.version}",
            _hint(requested),
        )
    if seen is None or not seen.versions:
        return Finding(CHECK, "ok", f"version {publish.version}; none was seen here before")
    stolen = keyring.keyring.stolen()
    same = seen.of(publish.version, stolen=stolen)
    if same is not None:
        _check_same(publish, embedding, same)
    newest, highest = seen.newest(stolen=stolen), seen.newest()
    if newest is None or (highest is not None and newest != highest and not _is_older(publish, newest)):
        before = highest.version if highest is not None else "none"
        text = f"version {publish.version}; version {before}, accepted here before, was signed by a stolen key"
        return Finding(CHECK, "note", f"{text}, and counts no more")
    if not _is_older(publish, newest):
        return Finding(CHECK, "ok", f"version {publish.version}, not older than {newest.version} seen here before")
    older = f"version {publish.version} is older than {newest.version}, the newest seen here"
    if requested is not None:
        return Finding(CHECK, "warning", f"{older}; it was requested by version")
    if pinned:
        return Finding(CHECK, "warning", f"{older}; this very release was requested")
    known = seen.of(publish.version)
    if local and known is not None and known.digest == embedding.digest:
        return Finding(CHECK, "warning", f"{older}; it was accepted here on {known.on or 'an earlier day'}")
    raise RollbackError(
        f"version {publish.version} of {publish.repository}, but version {newest.version} was accepted here before",
        f"the registry may be withholding the newer one: ask its operator; on purpose, pull"
        f" {publish.repository}@{publish.version}",
    )


def _is_older(publish: Publish, than: Accepted) -> bool:
    return names.version_order(publish.version) < names.version_order(than.version)


def _check_same(publish: Publish, embedding: Embedding, before: Accepted) -> None:
    """The same version is the same embedding and the same card, and has its audit if it had one."""
    if before.digest != embedding.digest:
        other = "another embedding"
    elif before.card is not None and before.card != publish.card.sha256:
        other = "another card"
    elif before.audit is not None and publish.audit is None:
        other = "a statement without the audit"
    else:
        return
    raise AnotherReleaseError(
        f"{other} under version {publish.version} of {publish.repository} than was accepted here before",
        "a publisher raises the version for anything new: ask the publisher, by another way, which one is theirs",
    )


def _hint(requested: str) -> str:
    """Digits that can be the first of a commit as well are read as a version: `names.is_commit`."""
    operator = "the registry returned another release: inform its operator"
    if _FIRST_OF_A_COMMIT.fullmatch(requested):
        return f"to request a commit, give all 40 digits; if you requested a version, {operator}"
    return operator
