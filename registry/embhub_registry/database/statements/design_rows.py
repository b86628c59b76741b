"""Registered audits: designs by the embedding's digest, and their results."""

from __future__ import annotations

from dataclasses import dataclass

from embhub_registry.database.connection import Connection


@dataclass(frozen=True)
class DesignRow:
    """A registered audit. `identity` is SHA-256 of what was signed; `result`, `verdict` and `ended` come later."""

    identity: str
    digest: str
    namespace: str
    number: int
    bundle: bytes
    received: str
    result: bytes | None = None
    verdict: str | None = None
    ended: str | None = None


def add(db: Connection, row: DesignRow) -> None:
    """Keep a design."""
    db.execute(
        "INSERT INTO audit_design (identity, digest, namespace, number, bundle, received) VALUES (?, ?, ?, ?, ?, ?)",
        (row.identity, row.digest, row.namespace, row.number, row.bundle, row.received),
    )


def end(db: Connection, identity: str, result: bytes, *, verdict: str, now: str) -> None:
    """Keep the result of a design that has none."""
    db.execute(
        "UPDATE audit_design SET result = ?, verdict = ?, ended = ? WHERE identity = ? AND result IS NULL",
        (result, verdict, now, identity),
    )


def find(db: Connection, identity: str) -> DesignRow | None:
    """The design of this identity, or None."""
    row = db.execute("SELECT * FROM audit_design WHERE identity = ?", (identity,)).fetchone()
    return None if row is None else DesignRow(**row)


def of(db: Connection, digest: str, *, most: int) -> list[DesignRow]:
    """The designs of an embedding, the oldest first."""
    rows = db.execute("SELECT * FROM audit_design WHERE digest = ? ORDER BY received LIMIT ?", (digest, most))
    return [DesignRow(**row) for row in rows]


def count(db: Connection, *, namespace: str, digest: str) -> tuple[int, int]:
    """How many designs a namespace registered of an embedding, and how many of all its designs have no result."""
    row = db.execute(
        "SELECT (SELECT count(*) FROM audit_design WHERE namespace = ?1 AND digest = ?2),"
        " (SELECT count(*) FROM audit_design WHERE namespace = ?1 AND result IS NULL)", (namespace, digest),
    ).fetchone()  # fmt: skip
    return int(row[0]), int(row[1])
