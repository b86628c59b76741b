"""The releases of a namespace that everybody may read, with their publish attestations."""

from __future__ import annotations

from dataclasses import dataclass

from embhub.release.files import PUBLISH_BUNDLE
from embhub_registry.database.connection import Connection


@dataclass(frozen=True)
class PublicRelease:
    """A release without a gate, and the digest of its publish attestation. `created` is when it was admitted."""

    repository: str
    revision: str
    version: str
    created: str
    publish: str


def public_releases(db: Connection, namespace: str, *, most: int) -> list[PublicRelease]:
    """The newest first, without quarantine and what a thief may have made.

    Private, gated, disabled and hidden (yanked) repositories are left out.
    """
    rows = db.execute(
        "SELECT repository.namespace || '/' || repository.name, revision.id, release_version, revision.created, digest"
        " FROM repository JOIN revision ON revision.repository_id = repository.id"
        " JOIN entry ON entry.repository_id = repository.id AND entry.revision_id = revision.id AND path = ?"
        " WHERE namespace = ? AND private = 0 AND gated = '' AND disabled = 0 AND hidden = 0"
        " AND release_version IS NOT NULL"
        " AND NOT EXISTS (SELECT 1 FROM quarantine AS q"
        " WHERE q.repository_id = repository.id AND q.revision_id = revision.id)"
        " AND NOT EXISTS (SELECT 1 FROM yank WHERE yank.repository_id = repository.id AND kind = 'revision'"
        " AND which = revision.id AND authority = 'key-stolen')"
        " ORDER BY revision.created DESC, revision.id LIMIT ?",
        (PUBLISH_BUNDLE, namespace, most),
    )
    return [PublicRelease(*row) for row in rows]
