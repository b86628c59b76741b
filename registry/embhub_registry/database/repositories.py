"""Repositories, revisions, their files, refs and what is listed of them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Repository:
    """One repository. `summary` is what lists and pages show of its newest release."""

    id: int
    namespace: str
    name: str
    private: bool
    created: str
    modified: str
    downloads: int
    summary: Mapping[str, Any]

    @property
    def full_name(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class Revision:
    """One commit; `id` is 40 hex digits."""

    id: str
    parent: str | None
    author: str
    created: str
    title: str
    message: str
    release_version: str | None = None


@dataclass(frozen=True)
class Entry:
    """One file of a revision. `digest` is SHA-256, `git_oid` the id that git would give the same bytes."""

    path: str
    digest: str
    size: int
    git_oid: str


def _repository(row: sqlite3.Row) -> Repository:
    values = dict(row)
    values["private"], values["summary"] = bool(values["private"]), json.loads(values["summary"])
    return Repository(**values)


_COLUMNS = "id, namespace, name, private, created, modified, downloads, summary"


def find(db: sqlite3.Connection, namespace: str, name: str) -> Repository | None:
    """The repository with exactly this name, or None."""
    statement = f"SELECT {_COLUMNS} FROM repository WHERE namespace = ? AND name = ?"  # noqa: S608
    row = db.execute(statement, (namespace, name)).fetchone()
    return None if row is None else _repository(row)


def find_folded(db: sqlite3.Connection, namespace: str, name: str) -> str | None:
    """The name of a repository that differs from `name` by case at most, or None."""
    statement = "SELECT name FROM repository WHERE namespace = ? AND lower(name) = lower(?)"
    row = db.execute(statement, (namespace, name)).fetchone()
    return None if row is None else str(row[0])


def add(db: sqlite3.Connection, namespace: str, name: str, *, private: bool, now: str) -> int:
    """Create a repository without revisions; returns its id."""
    cursor = db.execute(
        "INSERT INTO repository (namespace, name, private, created, modified) VALUES (?, ?, ?, ?, ?)",
        (namespace, name, int(private), now, now),
    )
    identity = cursor.lastrowid
    assert identity is not None  # noqa: S101
    describe(db, identity, {"front_matter": {}, "release": None}, tags=(), text=f"{namespace}/{name}")
    return identity


def delete(db: sqlite3.Connection, repository_id: int) -> list[str]:
    """Remove a repository with all it holds; returns the digests of blobs that nothing uses any more."""
    digests = [
        row[0] for row in db.execute("SELECT DISTINCT digest FROM entry WHERE repository_id = ?", (repository_id,))
    ]
    db.execute("DELETE FROM ref WHERE repository_id = ?", (repository_id,))
    db.execute("DELETE FROM search WHERE rowid = ?", (repository_id,))
    db.execute("DELETE FROM repository WHERE id = ?", (repository_id,))
    unused = [d for d in digests if db.execute("SELECT 1 FROM entry WHERE digest = ?", (d,)).fetchone() is None]
    db.executemany("DELETE FROM blob WHERE digest = ?", [(digest,) for digest in unused])
    return unused


def set_private(db: sqlite3.Connection, repository_id: int, *, private: bool) -> None:
    """Show or hide a repository."""
    db.execute("UPDATE repository SET private = ? WHERE id = ?", (int(private), repository_id))


def count_downloads(db: sqlite3.Connection, counts: Mapping[int, int]) -> None:
    """Add to the counters; a repository deleted meanwhile is skipped."""
    db.executemany("UPDATE repository SET downloads = downloads + ? WHERE id = ?", [(n, i) for i, n in counts.items()])


def describe(
    db: sqlite3.Connection, repository_id: int, summary: Mapping[str, Any], *, tags: Iterable[str], text: str
) -> None:
    """Replace what lists and search know of a repository."""
    db.execute("UPDATE repository SET summary = ? WHERE id = ?", (json.dumps(summary, allow_nan=False), repository_id))
    db.execute("DELETE FROM repository_tag WHERE repository_id = ?", (repository_id,))
    db.executemany("INSERT INTO repository_tag VALUES (?, ?)", [(tag, repository_id) for tag in sorted(set(tags))])
    db.execute("DELETE FROM search WHERE rowid = ?", (repository_id,))
    db.execute("INSERT INTO search (rowid, text) VALUES (?, ?)", (repository_id, text))


def tags_of(db: sqlite3.Connection, repository_id: int) -> list[str]:
    """The tags by name."""
    return [row[0] for row in db.execute("SELECT tag FROM repository_tag WHERE repository_id = ?", (repository_id,))]


def add_revision(db: sqlite3.Connection, repository_id: int, revision: Revision, entries: Iterable[Entry]) -> None:
    """Store a commit and its files; the blobs must be durable before."""
    rows = list(entries)
    db.executemany("INSERT OR IGNORE INTO blob VALUES (?, ?, ?)", [(e.digest, e.size, e.git_oid) for e in rows])
    db.execute(
        "INSERT INTO revision VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            repository_id, revision.id, revision.parent, revision.author, revision.created, revision.title,
            revision.message, revision.release_version,
        ),
    )  # fmt: skip
    db.executemany(
        "INSERT INTO entry VALUES (?, ?, ?, ?)", [(repository_id, revision.id, e.path, e.digest) for e in rows]
    )
    db.execute("UPDATE repository SET modified = ? WHERE id = ?", (revision.created, repository_id))


def find_revision(db: sqlite3.Connection, repository_id: int, revision_id: str) -> Revision | None:
    """One commit by its whole id, or None."""
    row = db.execute(
        "SELECT id, parent, author, created, title, message, release_version FROM revision"
        " WHERE repository_id = ? AND id = ?",
        (repository_id, revision_id),
    ).fetchone()
    return None if row is None else Revision(*row)


def released_versions(db: sqlite3.Connection, repository_id: int) -> list[str]:
    """Every version that was ever admitted in this repository."""
    statement = "SELECT DISTINCT release_version FROM revision WHERE repository_id = ? AND release_version IS NOT NULL"
    return [row[0] for row in db.execute(statement, (repository_id,))]


def entries(db: sqlite3.Connection, repository_id: int, revision_id: str) -> list[Entry]:
    """The files of a revision by path."""
    rows = db.execute(
        "SELECT path, entry.digest, size, git_oid FROM entry JOIN blob USING (digest)"
        " WHERE repository_id = ? AND revision_id = ? ORDER BY path",
        (repository_id, revision_id),
    )
    return [Entry(*row) for row in rows]


def find_entry(db: sqlite3.Connection, repository_id: int, revision_id: str, path: str) -> Entry | None:
    """One file of a revision, or None."""
    row = db.execute(
        "SELECT path, entry.digest, size, git_oid FROM entry JOIN blob USING (digest)"
        " WHERE repository_id = ? AND revision_id = ? AND path = ?",
        (repository_id, revision_id, path),
    ).fetchone()
    return None if row is None else Entry(*row)


def find_ref(db: sqlite3.Connection, repository_id: int, name: str) -> str | None:
    """The commit that a branch, else a tag, points to."""
    row = db.execute(
        "SELECT revision_id FROM ref WHERE repository_id = ? AND name = ? ORDER BY kind LIMIT 1", (repository_id, name)
    ).fetchone()
    return None if row is None else str(row[0])


def set_ref(db: sqlite3.Connection, repository_id: int, *, kind: str, name: str, revision_id: str) -> None:
    """Point a branch or tag to a commit."""
    db.execute(
        "INSERT INTO ref VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET revision_id = excluded.revision_id",
        (repository_id, kind, name, revision_id),
    )


def delete_ref(db: sqlite3.Connection, repository_id: int, *, kind: str, name: str) -> bool:
    """Remove a branch or tag; False where there was none."""
    statement = "DELETE FROM ref WHERE repository_id = ? AND kind = ? AND name = ?"
    return db.execute(statement, (repository_id, kind, name)).rowcount == 1


def list_refs(db: sqlite3.Connection, repository_id: int) -> list[sqlite3.Row]:
    """Branches and tags: `kind`, `name`, `revision_id`."""
    statement = "SELECT kind, name, revision_id FROM ref WHERE repository_id = ? ORDER BY kind, name"
    return db.execute(statement, (repository_id,)).fetchall()


def history(db: sqlite3.Connection, repository_id: int, head: str, *, limit: int = 1000) -> list[Revision]:
    """A commit and its ancestors, newest first."""
    rows = db.execute(
        "WITH RECURSIVE line (depth, id) AS (SELECT 0, ?2 UNION ALL"
        " SELECT depth + 1, parent FROM line JOIN revision r ON r.repository_id = ?1 AND r.id = line.id"
        " WHERE parent IS NOT NULL LIMIT ?3)"
        " SELECT r.id, parent, author, created, title, message, release_version"
        " FROM line JOIN revision r ON r.repository_id = ?1 AND r.id = line.id ORDER BY depth",
        (repository_id, head, limit),
    )
    return [Revision(*row) for row in rows]


def all_repositories(db: sqlite3.Connection) -> list[Repository]:
    """Every repository, private ones included, by name."""
    statement = f"SELECT {_COLUMNS} FROM repository ORDER BY namespace, name"  # noqa: S608
    return [_repository(row) for row in db.execute(statement)]


def all_revisions(db: sqlite3.Connection, repository_id: int) -> list[Revision]:
    """Every commit of a repository, whether a ref reaches it or not."""
    statement = (
        "SELECT id, parent, author, created, title, message, release_version FROM revision"
        " WHERE repository_id = ? ORDER BY created"
    )
    return [Revision(*row) for row in db.execute(statement, (repository_id,))]


def all_blobs(db: sqlite3.Connection) -> list[sqlite3.Row]:
    """Every blob that the database knows: `digest`, `size`, `uses`."""
    return db.execute(
        "SELECT blob.digest, size, count(entry.path) AS uses"
        " FROM blob LEFT JOIN entry USING (digest) GROUP BY blob.digest"
    ).fetchall()


def blob_is_known(db: sqlite3.Connection, digest: str) -> bool:
    """Whether any commit brought this blob."""
    return db.execute("SELECT 1 FROM blob WHERE digest = ?", (digest,)).fetchone() is not None
