"""Proposed releases and their approvals, apart from the commits that everybody reads; which repositories need them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from embhub_registry.database.connection import Connection, Row
from embhub_registry.database.releases.repositories import HELD, Entry

_COLUMNS = (
    "proposal.id, repository_id, repository.namespace, repository.name, branch, parent, digest, version, author,"
    " author_id, caller, admin, title, message, proposal.created, needed, not_before, state, decided, decided_by,"
    " reason, revision_id"
)
_NEWEST = "ORDER BY state <> 'open', proposal.created DESC LIMIT ?"
_FROM = "FROM proposal JOIN repository ON repository.id = repository_id"


@dataclass(frozen=True)
class Proposal:
    """A commit that is not published, or was. `digest` covers its files, `needed` says how many approvals it takes.

    `caller` and `admin` are what admission asks of who committed. `not_before` ends an embargo.
    """

    id: str
    repository_id: int
    namespace: str
    name: str
    branch: str
    parent: str
    digest: str
    version: str | None
    author: str
    author_id: int
    caller: str
    admin: bool
    title: str
    message: str
    created: str
    needed: int
    not_before: str | None
    state: str = "open"
    decided: str | None = None
    decided_by: str | None = None
    reason: str = ""
    revision_id: str | None = None

    @property
    def full_name(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class Approval:
    """An approver's word on one digest. `kind` is `signed` or `registry`; `bundle` the attestation, or None."""

    user_id: int
    approver: str
    digest: str
    created: str
    kind: str
    fingerprint: str
    bundle: bytes | None


def _proposal(row: Row) -> Proposal:
    return Proposal(**{**dict(row), "admin": bool(row["admin"])})


def fold(name: str) -> str:
    """A repository's name as rules compare it: no two repositories of a namespace have names that fold alike."""
    return name.lower().replace(".", "-").replace("_", "-")


def required(db: Connection, namespace: str, name: str) -> int:
    """How many approvals a release of this repository takes, by its own rule or its namespace's; 0 where none."""
    row = db.execute(
        "SELECT coalesce(max(approvals), 0) FROM review_rule WHERE namespace = ? AND name IN ('', ?)",
        (namespace, fold(name)),
    ).fetchone()
    return int(row[0])


def must_sign(db: Connection, namespace: str, name: str) -> bool:
    """Whether approvals of this repository's releases have to be signed, by its own rule or its namespace's."""
    statement = "SELECT 1 FROM review_rule WHERE namespace = ? AND name IN ('', ?) AND signed = 1"
    return db.execute(statement, (namespace, fold(name))).fetchone() is not None


def rules(db: Connection, namespace: str | None = None) -> list[Row]:
    """`namespace`, `name`, `approvals`, `signed`, `author`, `changed` of every rule, or of one namespace's."""
    return db.execute(
        "SELECT namespace, name, approvals, signed, author, changed FROM review_rule"
        " WHERE CAST(?1 AS TEXT) IS NULL OR namespace = ?1 ORDER BY namespace, name",
        (namespace,),
    ).fetchall()


def set_rule(
    db: Connection, namespace: str, name: str, approvals: int, *, author: str, now: str, signed: bool = False
) -> int:  # fmt: skip
    """Write a rule, 0 to remove it; `name` is "" for the namespace. Returns what it was before."""
    row = db.execute(
        "SELECT approvals FROM review_rule WHERE namespace = ? AND name = ?", (namespace, fold(name))
    ).fetchone()
    db.execute("DELETE FROM review_rule WHERE namespace = ? AND name = ?", (namespace, fold(name)))
    if approvals:
        values = (namespace, fold(name), approvals, int(signed), author, now)
        db.execute(
            "INSERT INTO review_rule (namespace, name, approvals, signed, author, changed) VALUES (?, ?, ?, ?, ?, ?)",
            values,
        )
    return int(row[0]) if row else 0


def add(db: Connection, made: Proposal, entries: Iterable[Entry]) -> None:
    """Store a proposal and its files; the blobs must be durable before."""
    rows = list(entries)
    db.executemany(
        "INSERT INTO blob VALUES (?, ?, ?) ON CONFLICT DO NOTHING", [(e.digest, e.size, e.git_oid) for e in rows]
    )
    db.execute(
        "INSERT INTO proposal (id, repository_id, branch, parent, digest, version, author, author_id, caller, admin,"
        " title, message, created, needed, not_before, state)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'open')",
        (
            made.id, made.repository_id, made.branch, made.parent, made.digest, made.version, made.author,
            made.author_id, made.caller, int(made.admin), made.title, made.message, made.created, made.needed,
            made.not_before,
        ),
    )  # fmt: skip
    db.executemany("INSERT INTO proposal_file VALUES (?, ?, ?)", [(made.id, e.path, e.digest) for e in rows])


def find(db: Connection, proposal_id: str) -> Proposal | None:
    """One proposal, or None."""
    row = db.execute(
        f"SELECT {_COLUMNS} {_FROM} WHERE proposal.id = ?", (proposal_id,)
    ).fetchone()  # put together from constants; values are bound
    return None if row is None else _proposal(row)


def of_namespace(db: Connection, namespace: str, *, limit: int = 200) -> list[Proposal]:
    """The proposals in a namespace's repositories, open ones first, then the newest."""
    statement = f"SELECT {_COLUMNS} {_FROM} WHERE repository.namespace = ? {_NEWEST}"
    return [_proposal(row) for row in db.execute(statement, (namespace, limit))]


def of_author(db: Connection, author_id: int, *, limit: int = 50) -> list[Proposal]:
    """What an account proposed, open ones first, then the newest."""
    statement = f"SELECT {_COLUMNS} {_FROM} WHERE author_id = ? {_NEWEST}"
    return [_proposal(row) for row in db.execute(statement, (author_id, limit))]


def open_of(db: Connection, repository_id: int, *, author_id: int | None = None) -> list[Proposal]:
    """The open proposals of a repository, or an author's alone."""
    statement = f"SELECT {_COLUMNS} {_FROM} WHERE repository_id = ?1 AND state = 'open' AND (CAST(?2 AS BIGINT) IS NULL OR author_id = ?2)"  # noqa: E501  # as above
    return [_proposal(row) for row in db.execute(statement, (repository_id, author_id))]


def embargoed(db: Connection, *, until: str) -> list[Proposal]:
    """The open proposals whose embargo ended by `until`."""
    statement = f"SELECT {_COLUMNS} {_FROM} WHERE state = 'open' AND not_before <= ? ORDER BY not_before"  # as above
    return [_proposal(row) for row in db.execute(statement, (until,))]


def of_revision(db: Connection, repository_id: int) -> Mapping[str, Proposal]:
    """The proposals that were published in a repository, by the commit that they became."""
    statement = f"SELECT {_COLUMNS} {_FROM} WHERE repository_id = ? AND revision_id IS NOT NULL"  # as above
    return {str(row["revision_id"]): _proposal(row) for row in db.execute(statement, (repository_id,))}


def move_embargo(db: Connection, proposal_id: str, not_before: str, *, keep_approvals: bool) -> int:
    """Let an embargo end at another time; returns how many approvals were forgotten."""
    db.execute("UPDATE proposal SET not_before = ? WHERE id = ? AND state = 'open'", (not_before, proposal_id))
    if keep_approvals:
        return 0
    return db.execute("DELETE FROM approval WHERE proposal_id = ?", (proposal_id,)).rowcount


def files(db: Connection, proposal_id: str) -> list[Entry]:
    """The files of an open proposal by path."""
    rows = db.execute(
        "SELECT path, digest, size, git_oid FROM proposal_file JOIN blob USING (digest) WHERE proposal_id = ?"
        " ORDER BY path",
        (proposal_id,),
    )
    return [Entry(*row) for row in rows]


def close(
    db: Connection, proposal_id: str, *, state: str, by: str, now: str, reason: str = "", revision_id: str | None = None
) -> list[str]:
    """End an open proposal and let its files go; returns the digests of blobs that nothing uses any more."""
    digests = [entry.digest for entry in files(db, proposal_id)]
    db.execute("DELETE FROM proposal_file WHERE proposal_id = ?", (proposal_id,))
    db.execute("DELETE FROM reviewer_link WHERE proposal_id = ?", (proposal_id,))
    db.execute(
        "UPDATE proposal SET state = ?, decided = ?, decided_by = ?, reason = ?, revision_id = ?"
        " WHERE id = ? AND state = 'open'",
        (state, now, by, reason, revision_id, proposal_id),
    )
    return forget(db, digests)


def forget(db: Connection, digests: Sequence[str]) -> list[str]:
    """Drop the rows of blobs that neither a commit nor a proposal holds; returns which these are."""
    unused = [digest for digest in dict.fromkeys(digests) if not is_held(db, digest)]
    db.executemany("DELETE FROM blob WHERE digest = ?", [(digest,) for digest in unused])
    return unused


def is_held(db: Connection, digest: str) -> bool:
    """Whether a commit or an open proposal holds a blob."""
    return db.execute(HELD, (digest,)).fetchone() is not None


def approve(db: Connection, proposal_id: str, given: Approval) -> None:
    """Note an approval; an account has one, and one that did not count any more is replaced."""
    db.execute("DELETE FROM approval WHERE proposal_id = ? AND user_id = ?", (proposal_id, given.user_id))
    db.execute(
        "INSERT INTO approval (proposal_id, user_id, approver, digest, created, kind, fingerprint, bundle)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (proposal_id, given.user_id, given.approver, given.digest, given.created, given.kind, given.fingerprint,
         given.bundle),
    )  # fmt: skip


def approvals(db: Connection, proposal_id: str) -> list[Approval]:
    """The approvals of a proposal, the first first."""
    rows = db.execute(
        "SELECT user_id, approver, digest, created, kind, fingerprint, bundle FROM approval WHERE proposal_id = ?"
        " ORDER BY created, user_id",
        (proposal_id,),
    )
    return [Approval(**{**dict(row), "bundle": row["bundle"] and bytes(row["bundle"])}) for row in rows]
