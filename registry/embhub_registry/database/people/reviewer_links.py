"""Links by which somebody without an account reads one open proposal; each is known by the SHA-256 of its code."""

from __future__ import annotations

from dataclasses import dataclass

from embhub_registry.database.connection import Connection, Row

_COLUMNS = (
    "reviewer_link.id, digest, proposal_id, user_id, user.name, purpose, reviewer_link.created, expires, uses,"
    " first_used, last_used"
)
_FROM = "FROM reviewer_link JOIN user ON user.id = user_id"


@dataclass(frozen=True)
class ReviewerLink:
    """A link without its code. `maker` made it; `uses` counts how often its code was entered."""

    id: str
    digest: bytes
    proposal_id: str
    maker_id: int
    maker: str
    purpose: str
    created: str
    expires: str
    uses: int
    first_used: str | None
    last_used: str | None


def _link(row: Row) -> ReviewerLink:
    values = tuple(row)
    return ReviewerLink(values[0], bytes(values[1]), *values[2:])


def add(
    db: Connection, *, link_id: str, digest: bytes, proposal_id: str, user_id: int, purpose: str, now: str,
    expires: str,
) -> None:  # fmt: skip
    """Remember a link by the digest of its code."""
    db.execute(
        "INSERT INTO reviewer_link (id, digest, proposal_id, user_id, purpose, created, expires)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (link_id, digest, proposal_id, user_id, purpose, now, expires),
    )


def find(db: Connection, digest: bytes, *, now: str) -> ReviewerLink | None:
    """The link with this digest that has not ended, or None."""
    statement = f"SELECT {_COLUMNS} {_FROM} WHERE digest = ? AND expires > ?"  # put together from constants
    row = db.execute(statement, (digest, now)).fetchone()
    return None if row is None else _link(row)


def of_proposal(db: Connection, proposal_id: str, *, now: str) -> list[ReviewerLink]:
    """The links of a proposal that have not ended, newest first."""
    statement = f"SELECT {_COLUMNS} {_FROM} WHERE proposal_id = ? AND expires > ? ORDER BY reviewer_link.created DESC, reviewer_link.id"  # noqa: E501  # as above
    return [_link(row) for row in db.execute(statement, (proposal_id, now))]


def note_use(db: Connection, link_id: str, *, now: str) -> None:
    """Count that the code was entered, and note when."""
    db.execute(
        "UPDATE reviewer_link SET uses = uses + 1, first_used = coalesce(first_used, ?1), last_used = ?1 WHERE id = ?2",
        (now, link_id),
    )


def remove(db: Connection, proposal_id: str, link_id: str) -> bool:
    """End one link of a proposal; False where there is none."""
    statement = "DELETE FROM reviewer_link WHERE proposal_id = ? AND id = ?"
    return db.execute(statement, (proposal_id, link_id)).rowcount == 1


def forget_ended(db: Connection, *, now: str) -> int:
    """Remove what has ended; returns how many."""
    return db.execute("DELETE FROM reviewer_link WHERE expires <= ?", (now,)).rowcount
