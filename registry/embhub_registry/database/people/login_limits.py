"""Tries of login codes, counted for all servers: token buckets as the generic cell rate algorithm keeps them (GCRA).

Of each bucket the database holds the moment at which it is full again, by the database's own clock: clocks of servers
may be an hour apart. A bucket that is full has no row.
"""

from __future__ import annotations

from embhub_registry.database.connection import Connection


def wait(db: Connection, digest: bytes, *, interval: int, burst: int) -> int:
    """How many milliseconds until there is a try; 0 if there is one now, or `take` has to look. Nothing is written.

    Args:
        db: Any connection.
        digest: Of the bucket's name.
        interval: Milliseconds in which one try comes back.
        burst: Tries of a full bucket.

    Returns:
        Milliseconds.
    """
    present, full_at = _look(db, digest)
    return 0 if full_at > present + burst * interval else max(0, full_at - present - (burst - 1) * interval)


def take(db: Connection, digest: bytes, *, interval: int, burst: int) -> int:
    """Take a try out, within a transaction that no other writer shares, to be committed whatever the result.

    A bucket that would be full later than an empty one was written before the clock went back: it is empty now.

    Args:
        db: The transaction's connection.
        digest: Of the bucket's name.
        interval: Milliseconds in which one try comes back.
        burst: Tries of a full bucket.

    Returns:
        0, or how many milliseconds to wait until there is a try, none taken.
    """
    present, noted = _look(db, digest)
    forget(db)
    full_at = min(noted, present + burst * interval)
    left = max(0, full_at - present - (burst - 1) * interval)
    after = full_at if left else full_at + interval
    if after != noted:
        db.execute(
            "INSERT INTO login_limit (digest, full_at) VALUES (?, ?)"
            " ON CONFLICT (digest) DO UPDATE SET full_at = excluded.full_at",
            (digest, after),
        )
    return left


def give_back(db: Connection, digest: bytes, *, interval: int) -> None:
    """The try that was taken does not count."""
    db.execute("UPDATE login_limit SET full_at = full_at - ? WHERE digest = ?", (interval, digest))


def any_full(db: Connection) -> bool:
    """Whether `forget` has something to remove."""
    return (
        db.execute("SELECT 1 FROM login_limit WHERE full_at <= ? LIMIT 1", (engine_milliseconds(db),)).fetchone()
        is not None
    )


def forget(db: Connection) -> int:
    """Remove the buckets that are full again, within a transaction; how many. Of an address, its digest is as good."""
    return db.execute("DELETE FROM login_limit WHERE full_at <= ?", (engine_milliseconds(db),)).rowcount


def _look(db: Connection, digest: bytes) -> tuple[int, int]:
    """Now, and when the bucket is full, which is not before."""
    present = engine_milliseconds(db)
    row = db.execute("SELECT full_at FROM login_limit WHERE digest = ?", (digest,)).fetchone()
    return present, present if row is None else max(present, int(row[0]))


def engine_milliseconds(db: Connection) -> int:
    """The database's own clock: milliseconds since 1970."""
    return int(db.execute(f"SELECT {db.dialect.milliseconds}").fetchone()[0])
