"""The numbers of each embedding file: their digest, and a sketch that near copies share. They outlive the file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from embhub_registry.database.connection import Connection

SAME = (
    "(SELECT ?1 UNION SELECT other.file FROM numbers AS mine JOIN numbers AS other ON other.digest = mine.digest"
    " WHERE mine.file = ?1)"
)
"""The files with the numbers of the file that is bound first, itself among them."""


@dataclass(frozen=True)
class Numbers:
    """Of the file with this SHA-256 the digest of its numbers, their shapes in words, and a sketch of each vector."""

    file: str
    digest: str
    shape: str
    sketch: bytes


def add(db: Connection, row: Numbers) -> None:
    """Keep a row; of a file that was erased and has come again the whole sketch."""
    db.execute(
        "INSERT INTO numbers (file, digest, shape, sketch) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (file) DO UPDATE SET sketch = excluded.sketch",
        (row.file, row.digest, row.shape, row.sketch),
    )


def find(db: Connection, file: str) -> Numbers | None:
    """The row of a file; None where it has none."""
    row = db.execute("SELECT file, digest, shape, sketch FROM numbers WHERE file = ?", (file,)).fetchone()
    return None if row is None else _numbers(row)


def file_with(db: Connection, digest: str) -> str | None:
    """A file with these numbers, of which `SAME` finds the others; None where there is none."""
    row = db.execute("SELECT file FROM numbers WHERE digest = ? LIMIT 1", (digest,)).fetchone()
    return None if row is None else str(row[0])


def marked(db: Connection, shape: str) -> list[Numbers]:
    """What has these shapes and was withdrawn, by its bytes, or has an audit that found a leak."""
    rows = db.execute(
        "SELECT file, digest, shape, sketch FROM numbers WHERE shape = ? AND file IN ("
        "SELECT digest FROM withdrawal WHERE scope = 'bytes' AND lifted IS NULL"
        " UNION SELECT digest FROM attestation WHERE verdict = 'leak-detected') ORDER BY file",
        (shape,),
    )
    return [_numbers(row) for row in rows]


def replace_sketch(db: Connection, file: str, sketch: bytes) -> None:
    """Keep another sketch of a file."""
    db.execute("UPDATE numbers SET sketch = ? WHERE file = ?", (sketch, file))


def _numbers(row: Iterable[object]) -> Numbers:
    file, digest, shape, sketch = row
    return Numbers(str(file), str(digest), str(shape), bytes(sketch))  # type: ignore[call-overload]  # a BLOB
