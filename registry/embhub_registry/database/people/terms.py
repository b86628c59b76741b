"""Terms of gated repositories by version, and which account accepted which."""

from __future__ import annotations

from dataclasses import dataclass

from embhub_registry.database.connection import Connection


@dataclass(frozen=True)
class Terms:
    """One version of a repository's terms; `digest` is SHA-256 of the text in UTF-8."""

    version: int
    text: str
    digest: str
    written: str
    author: str


_LAST = "SELECT version, text, digest, written, author FROM terms WHERE repository_id = ? ORDER BY version DESC LIMIT 1"


def find(db: Connection, repository_id: int) -> Terms | None:
    """The terms in force; None where there are none, or none any more."""
    found = find_last(db, repository_id)
    return found if found is not None and found.text else None


def find_last(db: Connection, repository_id: int) -> Terms | None:
    """The newest version, which has an empty text where the terms were ended."""
    row = db.execute(_LAST, (repository_id,)).fetchone()
    return None if row is None else Terms(*row)


def add(db: Connection, repository_id: int, terms: Terms) -> None:
    """A new version."""
    db.execute(
        "INSERT INTO terms VALUES (?, ?, ?, ?, ?, ?)",
        (repository_id, terms.version, terms.text, terms.digest, terms.written, terms.author),
    )


def accept(db: Connection, repository_id: int, user_id: int, terms: Terms, *, now: str) -> None:
    """Note that an account accepted this version."""
    db.execute(
        "INSERT INTO terms_accepted VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (repository_id, user_id, terms.version, terms.digest, now),
    )


def find_due(db: Connection, repository_id: int, user_id: int) -> Terms | None:
    """The terms in force where this account has not accepted them; None where nothing is due. For every download."""
    current = find(db, repository_id)
    if current is None:
        return None
    statement = "SELECT 1 FROM terms_accepted WHERE repository_id = ? AND user_id = ? AND version = ?"
    accepted = db.execute(statement, (repository_id, user_id, current.version)).fetchone()
    return None if accepted else current
