"""Repositories, revisions, their files, refs and what is listed of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from embhub_registry.database.connection import Connection, Row
from embhub_registry.database.releases.placement import place, remove

_ABBREVIATED = re.compile(r"[0-9a-f]{7,39}")
HELD = "SELECT 1 FROM entry WHERE digest = ?1 UNION ALL SELECT 1 FROM proposal_file WHERE digest = ?1"
"""A row where a commit, or a proposal that waits for approval, holds a blob."""
_HELD_BY = (
    "SELECT digest FROM entry WHERE repository_id = ?1 UNION SELECT f.digest FROM proposal_file f"
    " JOIN proposal ON proposal.id = proposal_id WHERE repository_id = ?1"
)
REF_PREFIXES = {"refs/heads/": "branch", "refs/tags/": "tag"}


@dataclass(frozen=True)
class Repository:
    """One repository. `summary` is what lists and pages show of its newest release, `position` its place in them.

    `gated` says how accounts are let in to its files: no gate (""), at once when they ask (auto), by hand (manual).
    `set_aside` where a release of it is in quarantine. `epsilon` is what that release claims, None without a bound.
    """

    id: int
    namespace: str
    name: str
    private: bool
    created: str
    modified: str
    downloads: int
    summary: Mapping[str, Any]
    gated: str = ""
    disabled: bool = False
    position: int = 0
    hidden: bool = False
    set_aside: bool = False
    epsilon: float | None = None

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


class StoredSummary(Mapping[str, Any]):
    """A summary that is parsed when somebody looks into it: whether a caller may is decided before, in equal time."""

    def __init__(self, text: str) -> None:
        self._text = text

    @cached_property
    def _values(self) -> dict[str, Any]:
        values: dict[str, Any] = json.loads(self._text)
        return values

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def _repository(row: Row) -> Repository:
    values = dict(row)
    values |= {flag: bool(values[flag]) for flag in ("private", "disabled", "hidden", "set_aside")}
    values["summary"] = StoredSummary(values["summary"])
    return Repository(**values)


_COLUMNS = ", ".join(field.name for field in fields(Repository))


def find(db: Connection, namespace: str, name: str) -> Repository | None:
    """The repository with exactly this name, or None."""
    statement = f"SELECT {_COLUMNS} FROM repository WHERE namespace = ? AND name = ?"  # noqa: S608  # put together from constants; values are bound
    row = db.execute(statement, (namespace, name)).fetchone()
    return None if row is None else _repository(row)


def find_by_id(db: Connection, repository_id: int) -> Repository | None:
    """The repository with this id, or None."""
    row = db.execute(f"SELECT {_COLUMNS} FROM repository WHERE id = ?", (repository_id,)).fetchone()  # noqa: S608  # put together from constants; values are bound
    return None if row is None else _repository(row)


def find_in_any_case(db: Connection, namespace: str, name: str) -> Repository | None:
    """The repository whose name differs from this one by case at most, or None; an index holds the lower case."""
    statement = f"SELECT {_COLUMNS} FROM repository WHERE namespace = ? AND lower(name) = {db.dialect.lower}"  # noqa: S608  # put together from constants; values are bound
    row = db.execute(statement, (namespace, name)).fetchone()
    return None if row is None else _repository(row)


def find_visibility(db: Connection, namespace: str, name: str) -> bool | None:
    """Whether the repository of this name, in any case, is private, None where there is none; no more of it is read."""
    statement = f"SELECT private FROM repository WHERE namespace = ? AND lower(name) = {db.dialect.lower}"  # noqa: S608  # as above
    row = db.execute(statement, (namespace, name)).fetchone()
    return None if row is None else bool(row[0])


def find_folded(db: Connection, namespace: str, name: str) -> str | None:
    """The name of a repository that reads like `name`: alike but for case and which of `.`, `_`, `-` stands where."""
    folded = "replace(replace(lower({}), '.', '-'), '_', '-')"
    statement = f"SELECT name FROM repository WHERE namespace = ? AND {folded.format('name')} = {folded.format('?')}"  # noqa: S608  # put together from constants; values are bound
    row = db.execute(statement, (namespace, name)).fetchone()
    return None if row is None else str(row[0])


def find_alike(db: Connection, namespace: str, name: str, *, private: bool) -> str | None:
    """`find_folded` among those neither disabled nor yanked, and among public ones alone unless `private` is set."""
    folded = "replace(replace(lower({}), '.', '-'), '_', '-')"
    statement = (
        f"SELECT name FROM repository WHERE namespace = ? AND {folded.format('name')} = {folded.format('?')}"  # noqa: S608  # put together from constants; values are bound
        " AND hidden = 0 AND disabled = 0 AND (private = 0 OR ? = 1)"
    )
    row = db.execute(statement, (namespace, name, int(private))).fetchone()
    return None if row is None else str(row[0])


def add(db: Connection, namespace: str, name: str, *, private: bool, gated: str = "", now: str) -> int:
    """Create a repository without revisions; returns its id."""
    ((identity,),) = db.execute(
        "INSERT INTO repository (namespace, name, private, gated, created, modified, position)"
        " SELECT ?, ?, ?, ?, ?, ?, coalesce(max(position), 0) + 1 FROM repository RETURNING id",
        (namespace, name, int(private), gated, now, now),
    ).fetchall()
    describe(db, identity, {"front_matter": {}, "release": None}, tags=(), text=f"{namespace}/{name}")
    return int(identity)


def delete(db: Connection, repository_id: int) -> list[str]:
    """Remove a repository with all it holds; returns the digests of blobs that nothing uses any more."""
    digests = [row[0] for row in db.execute(_HELD_BY, (repository_id,))]
    db.execute("DELETE FROM ref WHERE repository_id = ?", (repository_id,))
    remove(db, repository_id)
    db.execute("DELETE FROM repository WHERE id = ?", (repository_id,))
    unused = [d for d in digests if db.execute(HELD, (d,)).fetchone() is None]
    db.executemany("DELETE FROM blob WHERE digest = ?", [(digest,) for digest in unused])
    return unused


def set_access(
    db: Connection, repository_id: int, *, private: bool | None, gated: str | None, disabled: bool | None
) -> Repository:
    """Change who may see a repository and read its files; None leaves a setting as it is. Returns it as it is now."""
    db.execute(
        "UPDATE repository SET private = coalesce(?, private), gated = coalesce(?, gated),"
        " disabled = coalesce(?, disabled) WHERE id = ?",
        (private, gated, disabled, repository_id),
    )
    row = db.execute(f"SELECT {_COLUMNS} FROM repository WHERE id = ?", (repository_id,)).fetchone()  # noqa: S608  # put together from constants; values are bound
    return _repository(row)


def count_downloads(db: Connection, counts: Mapping[int, int]) -> None:
    """Add to the counters; a repository deleted meanwhile is skipped."""
    db.executemany("UPDATE repository SET downloads = downloads + ? WHERE id = ?", [(n, i) for i, n in counts.items()])


def describe(db: Connection, repository_id: int, summary: Mapping[str, Any], *, tags: Iterable[str], text: str) -> None:
    """Replace what lists and search know of a repository."""
    db.execute("UPDATE repository SET summary = ? WHERE id = ?", (json.dumps(summary, allow_nan=False), repository_id))
    place(db, repository_id, summary, tags=tags, text=text)


def tags_of(db: Connection, repository_id: int) -> list[str]:
    """The tags by name."""
    statement = "SELECT value FROM label WHERE repository_id = ? AND kind = 'tag' ORDER BY value"
    return [row[0] for row in db.execute(statement, (repository_id,))]


def add_revision(db: Connection, repository_id: int, revision: Revision, entries: Iterable[Entry]) -> None:
    """Store a commit and its files; the blobs must be durable before."""
    rows = list(entries)
    db.executemany(
        "INSERT INTO blob VALUES (?, ?, ?) ON CONFLICT DO NOTHING", [(e.digest, e.size, e.git_oid) for e in rows]
    )
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


def find_revision(db: Connection, repository_id: int, revision_id: str) -> Revision | None:
    """One commit by its whole id, or None."""
    row = db.execute(
        "SELECT id, parent, author, created, title, message, release_version FROM revision"
        " WHERE repository_id = ? AND id = ?",
        (repository_id, revision_id),
    ).fetchone()
    return None if row is None else Revision(*row)


def find_named(db: Connection, repository_id: int, name: str) -> str | None:
    """The commit that a version or the first digits of its id name: of a version the newest, of digits the only one."""
    versions = "SELECT id FROM revision WHERE repository_id = ? AND release_version = ? ORDER BY created DESC LIMIT 1"
    if row := db.execute(versions, (repository_id, name)).fetchone():
        return str(row[0])
    if not _ABBREVIATED.fullmatch(name):
        return None
    statement = "SELECT id FROM revision WHERE repository_id = ? AND id >= ? AND id < ? LIMIT 2"
    rows = db.execute(statement, (repository_id, name, f"{name}g")).fetchall()
    return str(rows[0][0]) if len(rows) == 1 else None


def released_versions(db: Connection, repository_id: int) -> list[str]:
    """Every version that was ever admitted in this repository."""
    statement = "SELECT DISTINCT release_version FROM revision WHERE repository_id = ? AND release_version IS NOT NULL"
    return [row[0] for row in db.execute(statement, (repository_id,))]


def entries(db: Connection, repository_id: int, revision_id: str) -> list[Entry]:
    """The files of a revision by path."""
    rows = db.execute(
        "SELECT path, entry.digest, size, git_oid FROM entry JOIN blob USING (digest)"
        " WHERE repository_id = ? AND revision_id = ? ORDER BY path",
        (repository_id, revision_id),
    )
    return [Entry(*row) for row in rows]


def find_entry(db: Connection, repository_id: int, revision_id: str, path: str) -> Entry | None:
    """One file of a revision, or None."""
    row = db.execute(
        "SELECT path, entry.digest, size, git_oid FROM entry JOIN blob USING (digest)"
        " WHERE repository_id = ? AND revision_id = ? AND path = ?",
        (repository_id, revision_id, path),
    ).fetchone()
    return None if row is None else Entry(*row)


def find_ref(db: Connection, repository_id: int, name: str) -> str | None:
    """The commit that a branch, else a tag, points to; `refs/heads/NAME` is a branch alone, `refs/tags/NAME` a tag."""
    kinds = [kind for prefix, kind in REF_PREFIXES.items() if name.startswith(prefix)]
    row = db.execute(
        "SELECT revision_id FROM ref WHERE repository_id = ?1 AND kind IN ('branch', 'tag') AND name = ?2"
        " AND (CAST(?3 AS TEXT) IS NULL OR kind = ?3) ORDER BY kind LIMIT 1",
        (repository_id, name.split("/", 2)[2] if kinds else name, kinds[0] if kinds else None),
    ).fetchone()
    return None if row is None else str(row[0])


def set_ref(db: Connection, repository_id: int, *, kind: str, name: str, revision_id: str) -> None:
    """Point a branch or tag to a commit."""
    db.execute(
        "INSERT INTO ref VALUES (?, ?, ?, ?)"
        " ON CONFLICT (repository_id, kind, name) DO UPDATE SET revision_id = excluded.revision_id",
        (repository_id, kind, name, revision_id),
    )


def delete_ref(db: Connection, repository_id: int, *, kind: str, name: str) -> bool:
    """Remove a branch or tag; False where there was none."""
    statement = "DELETE FROM ref WHERE repository_id = ? AND kind = ? AND name = ?"
    return db.execute(statement, (repository_id, kind, name)).rowcount == 1


def list_refs(db: Connection, repository_id: int) -> list[Row]:
    """Branches and tags: `kind`, `name`, `revision_id`."""
    statement = "SELECT kind, name, revision_id FROM ref WHERE repository_id = ? ORDER BY kind, name"
    return db.execute(statement, (repository_id,)).fetchall()


def site_totals(db: Connection, namespace: str) -> list[dict[str, Any]]:
    """What the public releases of a namespace state of all private trainings of its site, a row a repository."""
    total = db.dialect.json_text("summary", "release", "site_total")
    statement = f"SELECT {total} FROM repository WHERE namespace = ? AND private = 0 AND {total} IS NOT NULL"  # noqa: S608  # put together from constants; values are bound
    return [json.loads(row[0]) for row in db.execute(statement, (namespace,))]


def all_repositories(db: Connection) -> list[Repository]:
    """Every repository, private ones included, by name."""
    statement = f"SELECT {_COLUMNS} FROM repository ORDER BY namespace, name"  # noqa: S608  # put together from constants; values are bound
    return [_repository(row) for row in db.execute(statement)]


def all_revisions(db: Connection, repository_id: int) -> list[Revision]:
    """Every commit of a repository, whether a ref reaches it or not."""
    statement = (
        "SELECT id, parent, author, created, title, message, release_version FROM revision"
        " WHERE repository_id = ? ORDER BY created"
    )
    return [Revision(*row) for row in db.execute(statement, (repository_id,))]


def all_blobs(db: Connection) -> list[Row]:
    """Every blob that the database knows: `digest`, `size`, `uses`."""
    return db.execute(
        "SELECT blob.digest, size, (SELECT count(*) FROM entry WHERE entry.digest = blob.digest)"
        " + (SELECT count(*) FROM proposal_file AS f WHERE f.digest = blob.digest) AS uses FROM blob"
    ).fetchall()


def blob_is_known(db: Connection, digest: str) -> bool:
    """Whether any commit, or a proposal, brought this blob."""
    return db.execute("SELECT 1 FROM blob WHERE digest = ?", (digest,)).fetchone() is not None
