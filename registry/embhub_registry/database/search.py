"""Lists of repositories: filter, sort, pages by key rather than by offset."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from embhub_registry.database.repositories import Repository, _repository

SORTS = {"modified": "modified", "created": "created", "downloads": "downloads"}


@dataclass(frozen=True)
class Query:
    """What to list. `after` is the sort value and id of the last row of the page before."""

    text: str = ""
    author: str | None = None
    tags: Sequence[str] = ()
    sort: str = "modified"
    limit: int = 100
    after: tuple[Any, int] | None = None
    reader: str | None = None
    everything: bool = False
    released: bool = False


def run(db: sqlite3.Connection, query: Query) -> list[Repository]:
    """At most `limit + 1` repositories, so that a caller sees whether a next page exists.

    A private one is listed for a `reader` of its namespace only.
    """
    column = SORTS[query.sort]
    where = ["1"]
    values: list[Any] = []
    if not query.everything:
        where.append("(private = 0 OR namespace = ?)")
        values.append(query.reader or "")
    if query.released:
        where.append("summary ->> '$.release' IS NOT NULL")
    if query.author is not None:
        where.append("namespace = ?")
        values.append(query.author)
    for tag in query.tags:
        where.append("id IN (SELECT repository_id FROM repository_tag WHERE tag = ?)")
        values.append(tag)
    for word in query.text.split():
        # LIKE over a trigram table is an index look-up from three letters on, and a scan, still right, below
        where.append("id IN (SELECT rowid FROM search WHERE text LIKE ?)")
        values.append(f"%{word}%")
    if query.after is not None:
        where.append(f"({column}, id) < (?, ?)")
        values.extend(query.after)
    statement = (
        "SELECT id, namespace, name, private, created, modified, downloads, summary FROM repository"  # noqa: S608
        f" WHERE {' AND '.join(where)} ORDER BY {column} DESC, id DESC LIMIT ?"
    )
    return [_repository(row) for row in db.execute(statement, (*values, query.limit + 1))]


def count(db: sqlite3.Connection) -> int:
    """How many public repositories there are."""
    return int(db.execute("SELECT count(*) FROM repository WHERE private = 0").fetchone()[0])
