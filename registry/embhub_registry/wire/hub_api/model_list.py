"""Pages of `GET /api/models`: bounded in rows and in bytes, and read from the database while they are sent.

What a README's front matter holds is its author's choice, up to 200 kB. A list shows a little of it and reads a
bounded number of bytes; the model's own address shows all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from embhub_registry.database import Connection
from embhub_registry.database.releases import repositories, search
from embhub_registry.database.releases.repositories import Repository
from embhub_registry.database.releases.search import Page, Query
from embhub_registry.repositories import repos, yanking
from embhub_registry.wire.hub_api import hf_answers

MAX_READ = 8_000_000  # bytes of stored descriptions that one page is made from
MAX_CARD_DATA = 8_000  # bytes of one row's front matter
BATCH = 5


@dataclass(frozen=True)
class Wanted:
    """What a list shows of each repository."""

    files: bool
    card: bool
    expand: frozenset[str]


def find(db: Connection, query: Query) -> Page:
    """Which rows the page has: up to the query's limit, or until what they are made from would be too much."""
    return search.find_page(db, query, most_bytes=MAX_READ)


def batches(
    connect: Callable[[], Connection], query: Query, page: Page, wanted: Wanted
) -> Iterator[list[dict[str, Any]]]:
    """The page's rows, a few at a time; `connect` gives the connection of the thread that makes the next few.

    Between two batches no transaction is open, and what became private or was deleted meanwhile is left out.
    """
    for start in range(0, len(page.ids), BATCH):
        db = connect()
        found = search.read_page(db, page.ids[start : start + BATCH], query)
        yield [_row(db, repository, wanted) for repository in found]


def shorten(front: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """Front matter without the values that are too long for a list, and whether any is missing."""
    room, kept = MAX_CARD_DATA, {}
    for name, value in front.items():
        size = len(json.dumps({name: value}, ensure_ascii=False).encode())
        if size <= room:
            kept[name] = value
            room -= size
    return kept, len(kept) < len(front)


def _row(db: Connection, repository: Repository, wanted: Wanted) -> dict[str, Any]:
    head = repositories.find_ref(db, repository.id, repos.MAIN)
    entries = repositories.entries(db, repository.id, head) if wanted.files and head else None
    tags = repositories.tags_of(db, repository.id)
    row = hf_answers.model(repository, tags, sha=head, entries=entries, card=wanted.card)
    if "standing" in wanted.expand:
        row["standing"] = yanking.standing(db, repository)
    if not wanted.card:
        return hf_answers.expanded(row, wanted.expand)
    row["cardData"], shortened = shorten(row["cardData"])
    said = {"cardDataShortened": True} if shortened and (not wanted.expand or "cardData" in wanted.expand) else {}
    return hf_answers.expanded(row, wanted.expand) | said
