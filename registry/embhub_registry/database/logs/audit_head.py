"""Where the audit log ends, and where what was kept of it begins: one row, so that the file alone proves nothing."""

from __future__ import annotations

from dataclasses import dataclass

from embhub_registry.database.connection import Connection


@dataclass(frozen=True)
class Head:
    """`number` and `digest` of the last line, the month of the open segment and how many bytes of it are sealed.

    `first_number` and `first_previous` are those of the line before the oldest one that is kept. `place` is where the
    lines are: in a file, or in the database (`audit_lines`).
    """

    number: int
    digest: str
    segment: str
    size: int
    first_number: int
    first_previous: str
    place: str = "file"


def read(db: Connection) -> Head | None:
    """The head; None before the first line of a chain."""
    row = db.execute(
        "SELECT number, digest, segment, size, first_number, first_previous, place FROM audit_head WHERE one = 1"
    ).fetchone()
    return None if row is None else Head(*row)


def write(db: Connection, head: Head) -> None:
    """Move the head."""
    db.execute(
        "INSERT INTO audit_head VALUES (1, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (one) DO UPDATE SET"
        " number = excluded.number, digest = excluded.digest, segment = excluded.segment, size = excluded.size,"
        " first_number = excluded.first_number, first_previous = excluded.first_previous, place = excluded.place",
        (head.number, head.digest, head.segment, head.size, head.first_number, head.first_previous, head.place),
    )
