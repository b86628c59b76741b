"""Lines of the audit log in the database, where several servers share it: those of the file, in one order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from embhub_registry.database.connection import Connection

_BATCH = 1000


def append(db: Connection, lines: Sequence[tuple[int, str, str]]) -> None:
    """Add lines: number, month and text of each."""
    db.executemany("INSERT INTO audit_line VALUES (?, ?, ?)", lines)


def read(db: Connection, *, after: int = 0, until: int) -> Iterator[tuple[int, str, str]]:
    """Number, month and text of the lines beyond `after` and up to `until`, in order."""
    last = after
    while True:
        rows = db.execute(
            "SELECT number, month, line FROM audit_line WHERE number > ? AND number <= ? ORDER BY number LIMIT ?",
            (last, until, _BATCH),
        ).fetchall()
        for row in rows:
            yield row[0], row[1], row[2]
        if len(rows) < _BATCH:
            return
        last = rows[-1][0]


def beyond_head(db: Connection) -> int:
    """How many lines stand after the one that the head names, as of one moment."""
    inside = "SELECT number FROM audit_head WHERE one = 1"
    return int(db.execute(f"SELECT count(*) FROM audit_line WHERE number > ({inside})").fetchone()[0])  # noqa: S608  # constants


def take_beyond(db: Connection, number: int) -> list[str]:
    """Remove the lines after this one, which no head sealed, and return them."""
    rows = db.execute("DELETE FROM audit_line WHERE number > ? RETURNING number, line", (number,)).fetchall()
    return [row[1] for row in sorted(rows, key=lambda row: int(row[0]))]


def months(db: Connection, *, before: str) -> list[str]:
    """The months before this one that have lines."""
    rows = db.execute("SELECT DISTINCT month FROM audit_line WHERE month < ? ORDER BY month", (before,))
    return [row[0] for row in rows]


def last_of(db: Connection, *, before: str) -> tuple[int, str] | None:
    """Number and text of the last line before a month."""
    row = db.execute(
        "SELECT number, line FROM audit_line WHERE month < ? ORDER BY number DESC LIMIT 1", (before,)
    ).fetchone()
    return None if row is None else (row[0], row[1])


def remove(db: Connection, *, until: int) -> None:
    """Remove the lines up to this number."""
    db.execute("DELETE FROM audit_line WHERE number <= ?", (until,))
