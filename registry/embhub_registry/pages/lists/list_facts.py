"""What lists say, as data: rows, facets, and the members of the keyring; see page_facts.py."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Confirmation = Literal["countersigned", "self-declared", "none"]
Verdict = Literal["leak-detected", "no-leak-detected", "insufficient-evidence", "bounded-by-claim", "not-audited"]


class Facts(BaseModel):
    """Immutable; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class FacetValue(Facts):
    """One value of a facet: how many of the listed have it, and the list's address with it or (`chosen`) without."""

    value: str
    label: str
    count: int
    chosen: bool
    address: str


class Facet(Facts):
    """One facet; `values` the most frequent first."""

    name: str
    label: str
    values: tuple[FacetValue, ...]


class ReleaseRow(Facts):
    """The newest release in one row of a list; `claim` is its privacy claim in one line, null where there is none.

    `audit` is the verdict on these bytes, and `confirmation` whose word it is: `auditors`' (names in the keyring), who
    are independent, or the publisher's alone. `publisher` is what the card says of itself.
    """

    version: str
    description: str
    publisher: str
    token: str
    base: str
    modality: tuple[str, ...]
    anatomy: tuple[str, ...]
    finding: tuple[str, ...]
    privacy: Literal["none", "claimed"]
    claim: str | None
    audit: Verdict
    confirmation: Confirmation
    auditors: tuple[str, ...]


class Item(Facts):
    """One repository of a list; `release` is null where nothing was published yet, `yanked` where it was taken back.

    `member` is what the keyring calls the namespace; `misnamed` where the card gives another publisher. `sheet` is the
    address of the contact sheet, null where there is none or a gate is before it.
    """

    id: str
    namespace: str
    name: str
    address: str
    member: str
    misnamed: bool
    private: bool
    yanked: bool
    modified: str
    downloads: int
    sheet: str | None
    release: ReleaseRow | None


class Order(Facts):
    """One order of a list, and the list's address in it."""

    value: Literal["modified", "created", "downloads", "epsilon", "epsilon-largest"]
    label: str
    chosen: bool
    address: str


class ListPage(Facts):
    """`/`: what was published, in the order `sort`. `total` is exact, or the number counted where there are `more`."""

    schema_: Literal["embhub.page.list/1"] = Field(default="embhub.page.list/1", alias="schema")
    registry: str
    text: str
    chosen: tuple[FacetValue, ...]
    sort: str
    sorts: tuple[Order, ...]
    total: int
    more: bool
    items: tuple[Item, ...]
    facets: tuple[Facet, ...]
    next: str | None


class MemberKey(Facts):
    """A key of the keyring. `revoked` says since when and why, null where it is in force."""

    fingerprint: str
    roles: tuple[str, ...]
    added: str
    revoked: str | None


class LedgerHead(Facts):
    """What one public release shows of its publisher's privacy ledger, and where the log holds it.

    `ledger` is the ledger's id, `number` and `head` this release's; all three null where a release shows none and
    earlier ones did. `entry` is the log's index, null if it is not found. `warning` says what contradicts earlier ones.
    """

    repository: str
    version: str
    address: str
    date: str
    ledger: str | None
    number: int | None
    head: str | None
    entry: int | None
    warning: str | None


class NamespacePage(Facts):
    """`/{namespace}`: whose keys sign for it, what they may, and what was published. `may` is in words.

    `ledger_heads` are those of the newest public releases.
    """

    schema_: Literal["embhub.page.namespace/1"] = Field(default="embhub.page.namespace/1", alias="schema")
    registry: str
    namespace: str
    name: str
    may: tuple[str, ...]
    keys: tuple[MemberKey, ...]
    keyring: int
    ledger_heads: tuple[LedgerHead, ...] = ()
    total: int
    more: bool
    items: tuple[Item, ...]
    next: str | None
