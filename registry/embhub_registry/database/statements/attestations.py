"""Audit attestations by the embedding's digest, and the repositories whose newest release has those bytes."""

from __future__ import annotations

from dataclasses import dataclass

from embhub_registry.database.connection import Connection
from embhub_registry.database.releases.number_rows import SAME

_SWITCHES = ("own", "private", "restricted")


@dataclass(frozen=True)
class Attestation:
    """One auditor's word about an embedding; `own` where the publisher signed it, `bundle` is the signed file.

    `private` is whether the repository that it came with is private, or was when it was deleted; of a name that is
    nobody's any more it is true. `restricted` is whether it was deleted when its files were not everybody's for another
    reason. `namespace` is the auditor's, `fingerprint` names the key that signed.
    """

    digest: str
    namespace: str
    repository: str
    version: str
    own: bool
    verdict: str
    created: str
    fingerprint: str
    bundle: bytes
    private: bool = True
    restricted: bool = False

    @property
    def closed(self) -> bool:
        """Whether its namespace alone may read it, whatever the repository's present settings say."""
        return self.private or self.restricted


def add(db: Connection, row: Attestation) -> None:
    """Keep an attestation; of two by one auditor for one version, the later."""
    db.execute(
        "INSERT INTO attestation VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (digest, namespace, repository, version) DO UPDATE SET own = excluded.own,"
        " verdict = excluded.verdict, created = excluded.created,"
        " fingerprint = excluded.fingerprint, bundle = excluded.bundle"
        " WHERE excluded.created >= attestation.created",
        (row.digest, row.namespace, row.repository, row.version, int(row.own), row.verdict, row.created,
         row.fingerprint, row.bundle),
    )  # fmt: skip


def withdraw(db: Connection, digest: str, *, namespace: str, repository: str, version: str) -> None:
    """Forget an auditor's word that this auditor took back."""
    db.execute(
        "DELETE FROM attestation WHERE digest = ? AND namespace = ? AND repository = ? AND version = ? AND own = 0",
        (digest, namespace, repository, version),
    )


def close(db: Connection, repository: str, *, now: str) -> None:
    """Keep the audits of a repository that is gone under a name that no other gets: what leaks is still known."""
    db.execute(
        "UPDATE attestation SET repository = ? WHERE repository = ?", (f"{repository} (freed {now})", repository)
    )


def of(db: Connection, digest: str) -> list[Attestation]:
    """Every attestation of an embedding, and of the same numbers under another header; oldest first."""
    rows = db.execute(
        "SELECT attestation.digest, attestation.namespace, attestation.repository, version, own, verdict,"  # noqa: S608  # a constant
        " attestation.created, fingerprint, bundle,"
        " coalesce(repository.private, tombstone.private, 1) AS private,"
        " CASE WHEN repository.id IS NULL THEN coalesce(tombstone.restricted, 0) ELSE 0 END AS restricted"
        " FROM attestation"
        " LEFT JOIN repository ON repository.namespace || '/' || repository.name = attestation.repository"
        " LEFT JOIN tombstone ON tombstone.namespace || '/' || tombstone.name = attestation.repository"
        f" WHERE attestation.digest IN {SAME} ORDER BY attestation.created, attestation.repository",
        (digest,),
    )
    return [Attestation(**{**dict(row), **{name: bool(row[name]) for name in _SWITCHES}}) for row in rows]


def holders(db: Connection, digest: str, *, path: str, branch: str) -> list[tuple[str, str, str]]:
    """Namespace, name and bytes of the repositories whose newest release has these bytes or numbers under `path`."""
    rows = db.execute(
        "SELECT repository.namespace, repository.name, entry.digest FROM entry"  # noqa: S608  # a constant
        " JOIN ref ON ref.repository_id = entry.repository_id"
        " AND ref.revision_id = entry.revision_id AND ref.kind = 'branch' AND ref.name = ?2"
        " JOIN repository ON repository.id = entry.repository_id"
        f" WHERE entry.digest IN {SAME} AND entry.path = ?3 ORDER BY repository.namespace, repository.name",
        (digest, branch, path),
    )
    return [(row["namespace"], row["name"], row["digest"]) for row in rows]


def released(db: Connection, repository_id: int, *, path: str) -> set[tuple[str, str]]:
    """Every version that was published in a repository, with the digest of its file at `path`."""
    rows = db.execute(
        "SELECT DISTINCT release_version, digest FROM revision JOIN entry ON entry.repository_id ="
        " revision.repository_id AND entry.revision_id = revision.id"
        " WHERE revision.repository_id = ? AND path = ? AND release_version IS NOT NULL",
        (repository_id, path),
    )
    return {(row["release_version"], row["digest"]) for row in rows}


def digests(db: Connection, *, repository: str = "", fingerprint: str = "") -> list[str]:
    """The embeddings whose audits came with this repository, or were signed by the key with this fingerprint."""
    rows = db.execute(
        "SELECT DISTINCT digest FROM attestation WHERE repository = ? OR fingerprint = ? ORDER BY digest",
        (repository, fingerprint),
    )
    return [str(row[0]) for row in rows]
