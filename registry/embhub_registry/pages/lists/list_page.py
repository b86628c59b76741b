"""What a list says: rows, facets with counts, and the address of the next page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote, urlencode

from starlette.datastructures import QueryParams

from embhub.formats.names import is_another
from embhub.release.files import SAMPLES
from embhub.trust.keyring import Keyring
from embhub_registry.database import Connection
from embhub_registry.database.people.accounts import Account
from embhub_registry.database.releases import search
from embhub_registry.database.releases.repositories import Repository
from embhub_registry.database.releases.search import FACETS, Query
from embhub_registry.pages.lists.list_facts import (
    Facet,
    FacetValue,
    Item,
    ListPage,
    MemberKey,
    NamespacePage,
    Order,
    ReleaseRow,
)
from embhub_registry.pages.wordings import FACETS as FACET_WORDS
from embhub_registry.pages.wordings import MAY, facet_label
from embhub_registry.people import auth
from embhub_registry.wire.hub_api import hf_api

PAGE = 20
LONGEST_TEXT = 200
LONGEST_VALUE = 200
MOST_VALUES = 6
NEWEST = "modified"
SORTS = {
    NEWEST: "last changed",
    "created": "first published",
    "downloads": "downloads",
    "epsilon": "smallest epsilon",
    "epsilon-largest": "largest epsilon",
}


@dataclass(frozen=True)
class Asked:
    """What a reader asked a list for, and its address."""

    text: str = ""
    facets: dict[str, tuple[str, ...]] = field(default_factory=dict)
    after: str | None = None
    sort: str = NEWEST

    def address(self, *, path: str = "/") -> str:
        """The list's address under this question."""
        pairs = [("q", self.text)] if self.text else []
        pairs += [(facet, value) for facet in FACETS for value in self.facets.get(facet, ())]
        if self.sort != NEWEST:
            pairs.append(("sort", self.sort))
        if self.after:
            pairs.append(("after", self.after))
        return f"{path}?{urlencode(pairs)}" if pairs else path

    def toggled(self, facet: str, value: str) -> Asked:
        """The question with one value more, or less; from its first page."""
        chosen = self.facets.get(facet, ())
        changed = tuple(v for v in chosen if v != value) if value in chosen else (*chosen, value)
        return replace(self, facets=self.facets | {facet: changed}, after=None)

    def sorted_by(self, sort: str) -> Asked:
        """The question in another order; from its first page."""
        return replace(self, sort=sort, after=None)


def read(asked: QueryParams) -> Asked:
    """The question in an address; what is unknown in it is left out."""
    facets = {
        facet: tuple(dict.fromkeys(v[:LONGEST_VALUE] for v in asked.getlist(facet)))[:MOST_VALUES] for facet in FACETS
    }
    return Asked(
        " ".join(asked.get("q", "")[:LONGEST_TEXT].split()),
        {facet: values for facet, values in facets.items() if values},
        asked.get("after"),
        asked["sort"] if asked.get("sort") in SORTS else NEWEST,
    )


def collect(db: Connection, asked: Asked, *, keyring: Keyring, account: Account | None, registry: str) -> ListPage:
    """The list of what was published, as this account sees it.

    Raises:
        RequestDeniedError: 400 for a cursor that this registry did not give.
    """
    query = Query(
        text=asked.text, facets=asked.facets, sort=asked.sort, limit=PAGE, after=hf_api.read_cursor(asked.after),
        readers=auth.readable(account), everything=account is not None and account.admin, released=True,
    )  # fmt: skip
    names = member_names(keyring)
    items, cursor = rows(search.run(db, query), names=names, sort=asked.sort)
    counts = search.count_facets(db, query)
    facets = tuple(_facet(name, counts.facets[name], asked, names) for name in FACETS)
    return ListPage(
        registry=registry, text=asked.text, chosen=_chosen(asked, names), sort=asked.sort,
        sorts=tuple(
            Order(value=sort, label=label, chosen=sort == asked.sort, address=asked.sorted_by(sort).address())
            for sort, label in SORTS.items()
        ), total=counts.total, more=counts.capped,
        items=items, facets=tuple(facet for facet in facets if facet.values),
        next=replace(asked, after=cursor).address() if cursor else None,
    )  # fmt: skip


def collect_namespace(
    db: Connection, name: str, *, keyring: Keyring, account: Account | None, after: str | None, registry: str
) -> NamespacePage:
    """Who signs for an organisation, and what it published, as this account sees it.

    Raises:
        RequestDeniedError: 400 for a cursor that this registry did not give.
    """
    member = next((m for m in keyring.members if m.namespace == name), None)
    revoked = {r.fingerprint: f"{r.reason} on {r.date[:10]}" for r in keyring.revoked}
    keys: dict[str, MemberKey] = {}
    for key in member.keys if member else ():
        before = keys.get(key.fingerprint)
        keys[key.fingerprint] = MemberKey(
            fingerprint=key.fingerprint, roles=(*(before.roles if before else ()), key.role),
            added=min(before.added, key.added) if before else key.added, revoked=revoked.get(key.fingerprint),
        )  # fmt: skip
    roles = dict.fromkeys(role for key in keys.values() if key.revoked is None for role in key.roles)
    query = Query(
        author=name, limit=PAGE, after=hf_api.read_cursor(after), readers=auth.readable(account),
        everything=account is not None and account.admin,
    )  # fmt: skip
    items, cursor = rows(search.run(db, query), names=member_names(keyring))
    counts = search.count_facets(db, query)
    return NamespacePage(
        registry=registry, namespace=name, name=(member.name if member else None) or name,
        may=tuple(MAY[role].format(namespace=name) for role in roles if role in MAY), keys=tuple(keys.values()),
        keyring=keyring.version, total=counts.total, more=counts.capped, items=items,
        next=f"/{name}?{urlencode({'after': cursor})}" if cursor else None,
    )  # fmt: skip


def member_names(keyring: Keyring) -> dict[str, str]:
    """What the keyring calls each namespace."""
    return {member.namespace: member.name or member.namespace for member in keyring.members}


def rows(
    found: Sequence[Repository], *, names: Mapping[str, str], limit: int = PAGE, sort: str = NEWEST
) -> tuple[tuple[Item, ...], str | None]:
    """A page's rows, and the cursor of the next page where `found` has one row more."""
    shown = found[:limit]
    more = len(found) > limit
    cursor = hf_api.make_cursor(search.value_of(shown[-1], sort), shown[-1].id) if more else None
    return tuple(_item(repository, names) for repository in shown), cursor


def _item(repository: Repository, names: Mapping[str, str]) -> Item:
    release = repository.summary.get("release") or {}
    member = names.get(repository.namespace, repository.namespace)
    return Item(
        id=repository.full_name, namespace=repository.namespace, name=repository.name,
        address=f"/{quote(repository.full_name)}", member=member,
        misnamed=bool(release) and is_another(release["publisher"], member),
        private=repository.private, yanked=repository.hidden, modified=repository.modified,
        downloads=repository.downloads, sheet=_sheet(repository, release),
        release=_release(release, names) if release else None,
    )  # fmt: skip


def _sheet(repository: Repository, release: Mapping[str, Any]) -> str | None:
    """The contact sheet's address, where everybody who sees the row may have the files too."""
    if not release.get("sheet") or repository.gated or repository.disabled:
        return None
    return f"/{quote(repository.full_name)}/resolve/main/{SAMPLES}"


def _release(summary: dict[str, Any], names: Mapping[str, str]) -> ReleaseRow:
    claim = None if summary["privacy"] == "none" else summary["privacy"]
    told = {"privacy": "claimed" if claim else "none", "claim": claim}
    told |= {"auditors": [names.get(auditor, auditor) for auditor in summary["auditors"]]}
    return ReleaseRow.model_validate({name: summary.get(name) for name in ReleaseRow.model_fields} | told)


def _facet(name: str, values: Sequence[tuple[str, int]], asked: Asked, names: Mapping[str, str]) -> Facet:
    chosen = asked.facets.get(name, ())
    shown = tuple(
        FacetValue(
            value=value, label=_label(name, value, names), count=count, chosen=value in chosen,
            address=asked.toggled(name, value).address(),
        )
        for value, count in values
    )  # fmt: skip
    return Facet(name=name, label=FACET_WORDS[name], values=shown)


def _label(facet: str, value: str, names: Mapping[str, str]) -> str:
    return names.get(value, value) if facet == "namespace" else facet_label(facet, value)


def _chosen(asked: Asked, names: Mapping[str, str]) -> tuple[FacetValue, ...]:
    """What narrows the list; each one's address takes it off."""
    return tuple(
        FacetValue(
            value=value, label=f"{FACET_WORDS[name]}: {_label(name, value, names)}", count=0, chosen=True,
            address=asked.toggled(name, value).address(),
        )
        for name, values in asked.facets.items()
        for value in values
    )  # fmt: skip
