"""The bytes of a registry's files in PostgreSQL: a row for each SHA-256.

A commit brings bytes in its own transaction, a removal takes them away in one. Whichever comes second waits for the
first at the row, and then sees what it did. Both go by digest, so that two of them never wait for each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from embhub.errors import RegistryError
from embhub_registry.database.connection import Connection

_BATCH = 1000


def put(db: Connection, digest: str, data: bytes) -> None:
    """Store bytes, and keep them until this transaction ends; what was damaged is replaced.

    ON CONFLICT DO UPDATE locks the row that is there, also where nothing has to be changed. If a removal holds it,
    this waits, and stores the bytes anew once they are gone (PostgreSQL's manual, INSERT and 13.2.1).
    """
    db.execute(
        "INSERT INTO file_content (digest, content) VALUES (?, ?) ON CONFLICT (digest) DO UPDATE"
        " SET content = excluded.content WHERE file_content.content <> excluded.content",
        (digest, data),
    )


def read(db: Connection, digest: str) -> bytes | None:
    """The bytes that are stored under a digest; the caller compares them with it."""
    execute: Callable[..., Any] = db.execute  # PostgreSQL's: as text, in hex, bytes take several times as long
    row = execute("SELECT content FROM file_content WHERE digest = ?", (digest,), binary=True).fetchone()
    return None if row is None else bytes(row[0])


def size(db: Connection, digest: str) -> int:
    """How many bytes are stored under a digest; 0 where there are none."""
    row = db.execute("SELECT octet_length(content) FROM file_content WHERE digest = ?", (digest,)).fetchone()
    return 0 if row is None else int(row[0])


def remove(db: Connection, digest: str) -> bool:
    """Within a transaction: remove bytes that nothing names; False where something does.

    The row is locked first, and the question put by a second statement: that one sees a commit which held the row.
    """
    db.execute("SELECT 1 FROM file_content WHERE digest = ? FOR UPDATE", (digest,))
    statement = "DELETE FROM file_content WHERE digest = ?1 AND NOT EXISTS (SELECT 1 FROM blob WHERE digest = ?1)"
    return db.execute(statement, (digest,)).rowcount == 1


def digests(db: Connection) -> Iterator[str]:
    """The digest of everything that is stored, in order."""
    last = ""
    while True:
        statement = "SELECT digest FROM file_content WHERE digest > ? ORDER BY digest LIMIT ?"
        rows = db.execute(statement, (last, _BATCH)).fetchall()
        yield from (str(row[0]) for row in rows)
        if len(rows) < _BATCH:
            return
        last = str(rows[-1][0])


def compare(db: Connection) -> None:
    """Let the server compute the digest of everything that is stored.

    Raises:
        RegistryError: something has another one.
    """
    statement = "SELECT digest FROM file_content WHERE encode(sha256(content), 'hex') <> digest LIMIT 1"
    if row := db.execute(statement).fetchone():
        raise RegistryError(f"the file {row[0]} did not arrive as it was sent", "nothing was changed; run `check`")
