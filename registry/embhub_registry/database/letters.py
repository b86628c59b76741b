"""One and two letters, which the index of words does not have: a note of which blocks of places in lists hold them.

A block is 64 places, one after the other. What it holds is noted in the transaction that writes a text, by `note` in
SQLite and by a trigger in PostgreSQL, and is never taken out: a block that is noted has to be looked through.
"""

from __future__ import annotations

from collections.abc import Sequence

from embhub_registry.database.connection import Connection
from embhub_registry.database.wording import letter_pairs

BLOCK = 64  # places; also in migrations/postgresql
_MOST = 80  # blocks: where more hold the letters, a page is full before the newest of these were looked through


def note(db: Connection, position: int, words: str) -> None:
    """Add the letters of a text to those of its block."""
    row = db.execute("SELECT pairs FROM letter_block WHERE block = ?", (position // BLOCK,)).fetchone()
    held = "" if row is None else str(row["pairs"])
    known = set(held.split(" "))
    more = " ".join(pair for pair in letter_pairs(words).split(" ") if pair not in known)
    if row is None or more:
        db.execute(
            "INSERT INTO letter_block VALUES (?, ?) ON CONFLICT (block) DO UPDATE SET pairs = excluded.pairs",
            (position // BLOCK, f"{held} {more}".strip()),
        )


def count_blocks(db: Connection, words: Sequence[str], *, reach: int) -> int | None:
    """How many blocks of the newest `reach` places may hold all of these words, of one or two letters each.

    None where it is quicker to look at every row, or where a block was never noted.
    """
    newest = int(db.execute("SELECT coalesce(max(position), 0) FROM repository").fetchone()[0])
    bounds = max(newest - reach, 0) // BLOCK, newest // BLOCK
    noted = db.execute("SELECT count(*) FROM letter_block WHERE block BETWEEN ? AND ?", bounds).fetchone()[0]
    if noted <= bounds[1] - bounds[0]:
        return None
    holds = " AND ".join([db.dialect.contains("pairs")] * len(words))
    statement = f"SELECT block FROM letter_block WHERE block BETWEEN ? AND ? AND {holds} LIMIT ?"  # noqa: S608  # put together from constants; values are bound
    found = len(db.execute(statement, (*bounds, *words, _MOST + 1)).fetchall())
    return None if found > _MOST else found
