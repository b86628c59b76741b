"""What else there is: of the same finding, for the same base, what it was ported from, and its ports.

Newest first, and only what everybody may see: the page that shows them is kept for every reader, so no private
repository is looked for, whoever asks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from embhub.cards.card import Card
from embhub.formats.search_words import facet_value
from embhub.trust.keyring import Keyring
from embhub_registry.admission.listing import port_tag
from embhub_registry.database import Connection
from embhub_registry.database.releases import search
from embhub_registry.database.releases.repositories import Repository
from embhub_registry.database.releases.search import Query
from embhub_registry.pages.lists.list_facts import Item
from embhub_registry.pages.lists.list_page import member_names, rows

MOST = 4
FINDINGS = 3  # of one embedding, that others are looked for by
HOLDERS = 50  # repositories with the bytes of a source, among which public ones are looked for


@dataclass(frozen=True)
class Related:
    """Rows of each kind, at most `MOST`; of the same base none that stands under another kind."""

    finding: tuple[Item, ...] = ()
    base: tuple[Item, ...] = ()
    sources: tuple[Item, ...] = ()
    ports: tuple[Item, ...] = ()


def find(db: Connection, repository: Repository, card: Card, digest: str, *, keyring: Keyring) -> Related:
    """What is related to the embedding of this SHA-256, which has this card."""
    release = repository.summary.get("release") or {}
    base = release.get("base")
    sources = _sources(db, card.derived_from.source) if card.derived_from else []
    ports = [other for other in _listed(db, tags=(port_tag(digest),)) if _release(other).get("source") == digest]
    alike = list[Repository]()
    for finding in release.get("finding", ())[:FINDINGS]:
        alike += _listed(db, facets={"finding": (facet_value(finding),)})
    alike.sort(key=lambda other: (_release(other).get("base") != base, -other.position))
    shown = {repository.id}
    groups = [_new(group, shown) for group in (sources, ports, alike)]
    groups.append(_new(_listed(db, facets={"base": (facet_value(base),)}) if base else (), shown))
    names = member_names(keyring)
    found = [rows(group, names=names, limit=MOST)[0] for group in groups]
    return Related(sources=found[0], ports=found[1], finding=found[2], base=found[3])


def _sources(db: Connection, digest: str) -> list[Repository]:
    """Public repositories whose newest release is this embedding."""
    held = search.holding(db, digest, limit=HOLDERS)
    found = search.read_page(db, held, Query(released=True)) if held else []
    return [other for other in found if _release(other).get("embedding") == digest]


def _listed(
    db: Connection, *, facets: dict[str, tuple[str, ...]] | None = None, tags: tuple[str, ...] = ()
) -> list[Repository]:
    return search.run(db, Query(facets=facets or {}, tags=tags, limit=3 * MOST, released=True))


def _new(group: Iterable[Repository], shown: set[int]) -> list[Repository]:
    """The first of a group that were not shown before."""
    found = list({other.id: other for other in group if other.id not in shown}.values())[:MOST]
    shown.update(other.id for other in found)
    return found


def _release(repository: Repository) -> dict[str, object]:
    return repository.summary.get("release") or {}
