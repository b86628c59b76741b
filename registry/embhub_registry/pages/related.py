"""What else there is of the same finding, from any publisher: newest first, and only what everybody may see."""

from __future__ import annotations

from embhub.trust.keyring import Keyring
from embhub_registry.database import Connection, search
from embhub_registry.database.repositories import Repository
from embhub_registry.database.search import Query
from embhub_registry.database.wording import facet_value
from embhub_registry.pages.list_facts import Item
from embhub_registry.pages.list_page import member_names, rows

MOST = 4
FINDINGS = 3  # of one embedding, that others are looked for by


def find(db: Connection, repository: Repository, *, keyring: Keyring) -> tuple[Item, ...]:
    """At most `MOST` public embeddings that share a finding, those for the same base first.

    The page that shows them is kept for every reader, so no private repository is looked for, whoever asks.
    """
    release = repository.summary.get("release") or {}
    found: dict[int, Repository] = {}
    for finding in release.get("finding", ())[:FINDINGS]:
        query = Query(facets={"finding": (facet_value(finding),)}, limit=2 * MOST, released=True)
        found |= {other.id: other for other in search.run(db, query)[: 2 * MOST] if other.id != repository.id}
    base = release.get("base")
    alike = sorted(found.values(), key=lambda other: (_base(other) != base, -other.position))
    items, _ = rows(alike[:MOST], names=member_names(keyring))
    return items


def _base(repository: Repository) -> str | None:
    release = repository.summary.get("release") or {}
    return release.get("base")
