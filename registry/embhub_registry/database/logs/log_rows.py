"""The transparency log's rows: entries in order, signed checkpoints, and witnesses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from embhub_registry.database.connection import Connection

KEPT = 8  # checkpoints


@dataclass(frozen=True)
class SignedSize:
    """A checkpoint that was signed: its size and root, and the note with the cosignatures that came in."""

    size: int
    root: bytes
    note: bytes


@dataclass(frozen=True)
class Witness:
    """A witness of the operator's choice, and the size of the checkpoint that it cosigned last."""

    vkey: str
    url: str
    seen: int
    asked: str | None


def append(db: Connection, leaf: bytes, *, hashed: bytes) -> int:
    """The index of an entry; one that is there keeps its own. Durable when the transaction is."""
    if (found := find(db, hashed)) is not None:
        return found
    place = size(db)
    db.execute("INSERT INTO log_entry VALUES (?, ?, ?)", (place, leaf, hashed))
    return place


def size(db: Connection) -> int:
    """How many entries there are."""
    return int(db.execute("SELECT coalesce(max(place), -1) + 1 FROM log_entry").fetchone()[0])


def entries(db: Connection, first: int, end: int) -> Iterator[tuple[bytes, bytes]]:
    """Entries and their hashes, from `first` to before `end`."""
    rows = db.execute("SELECT leaf, hash FROM log_entry WHERE place >= ? AND place < ? ORDER BY place", (first, end))
    for row in rows:
        yield row[0], row[1]


def find(db: Connection, hashed: bytes) -> int | None:
    """The index of the entry with this leaf hash, or None."""
    row = db.execute("SELECT place FROM log_entry WHERE hash = ?", (hashed,)).fetchone()
    return None if row is None else int(row[0])


def newest(db: Connection) -> SignedSize | None:
    """The largest checkpoint that was signed."""
    row = db.execute("SELECT size, root, note FROM log_checkpoint ORDER BY size DESC LIMIT 1").fetchone()
    return None if row is None else SignedSize(row[0], row[1], row[2])


def best(db: Connection, *, above: int, since: str) -> SignedSize | None:
    """The checkpoint of more than `above` entries that most witnesses cosigned since then, else the newest."""
    row = db.execute(
        "SELECT size, root, note FROM log_checkpoint WHERE size > ? AND cosigned >= ?"
        " ORDER BY cosigners DESC, size DESC LIMIT 1", (above, since),
    ).fetchone()  # fmt: skip
    return newest(db) if row is None else SignedSize(row[0], row[1], row[2])


def add_checkpoint(db: Connection, signed: SignedSize) -> None:
    """Keep a checkpoint, and of earlier ones the last few."""
    values = (signed.size, signed.root, signed.note)
    db.execute("DELETE FROM log_checkpoint WHERE size = ?", (signed.size,))
    db.execute("INSERT INTO log_checkpoint (size, root, note) VALUES (?, ?, ?)", values)
    db.execute(
        "DELETE FROM log_checkpoint WHERE size NOT IN (SELECT size FROM log_checkpoint ORDER BY size DESC LIMIT ?)"
        " AND size NOT IN (SELECT size FROM log_checkpoint ORDER BY cosigned IS NULL, cosigned DESC LIMIT ?)",
        (KEPT, KEPT),
    )  # fmt: skip


def checkpoint(db: Connection, size: int) -> SignedSize | None:
    """The checkpoint of this size, if it is kept."""
    row = db.execute("SELECT size, root, note FROM log_checkpoint WHERE size = ?", (size,)).fetchone()
    return None if row is None else SignedSize(row[0], row[1], row[2])


def set_cosigned(db: Connection, size: int, note: bytes, *, cosigners: int, now: str) -> None:
    """The same checkpoint with more cosignatures."""
    db.execute(
        "UPDATE log_checkpoint SET note = ?, cosigners = ?, cosigned = ? WHERE size = ?", (note, cosigners, now, size)
    )


def witnesses(db: Connection) -> list[Witness]:
    """Every witness."""
    return [Witness(*row) for row in db.execute("SELECT vkey, url, seen, asked FROM log_witness ORDER BY vkey")]


def set_witness(db: Connection, vkey: str, url: str) -> None:
    """Add a witness, or give it another address."""
    db.execute(
        "INSERT INTO log_witness (vkey, url) VALUES (?, ?) ON CONFLICT (vkey) DO UPDATE SET url = excluded.url",
        (vkey, url),
    )


def remove_witness(db: Connection, vkey: str) -> bool:
    """Forget a witness; whether there was one."""
    return db.execute("DELETE FROM log_witness WHERE vkey = ?", (vkey,)).rowcount > 0


def note_seen(db: Connection, vkey: str, size: int) -> None:
    """The largest tree that a witness cosigned."""
    db.execute("UPDATE log_witness SET seen = ? WHERE vkey = ? AND seen < ?", (size, vkey, size))


def note_asked(db: Connection, vkey: str, *, now: str) -> None:
    """When a witness was asked last."""
    db.execute("UPDATE log_witness SET asked = ? WHERE vkey = ?", (now, vkey))


def term(db: Connection) -> int:
    """The newest term of a sequencer; 0 before the first."""
    row = db.execute("SELECT term FROM log_sequencer WHERE one = 1").fetchone()
    return 0 if row is None else int(row[0])


def next_term(db: Connection, holder: str, *, now: str) -> int:
    """Begin a term, within a transaction: what an earlier sequencer signs is refused from now on."""
    number = term(db) + 1
    db.execute(
        "INSERT INTO log_sequencer VALUES (1, ?, ?, ?) ON CONFLICT (one) DO UPDATE"
        " SET term = excluded.term, holder = excluded.holder, since = excluded.since",
        (number, holder, now),
    )
    return number
