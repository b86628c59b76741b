"""`/trust/advisories`: what was withdrawn at this registry, by whom, in which scope, and why."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from embhub.trust.advisories import Advisories, Advisory
from embhub_registry.pages.lists.list_facts import Facts


class Withdrawn(Facts):
    """One advisory; `repository` and `address` are null where its readers alone may know it."""

    id: str
    repository: str | None
    address: str | None
    namespace: str
    version: str | None
    digest: str
    scope: Literal["release", "bytes"]
    by: Literal["publisher", "operator", "key-stolen"]
    reason: str
    date: str
    lifted: str | None


class AdvisoriesPage(Facts):
    """`/trust/advisories`: the advisories in force and those that were lifted, the newest first."""

    schema_: Literal["embhub.page.advisories/1"] = Field(default="embhub.page.advisories/1", alias="schema")
    registry: str
    number: int
    advisories: tuple[Withdrawn, ...]


def collect(found: Advisories, *, registry: str) -> AdvisoriesPage:
    """What the page says."""
    newest = sorted(found.entries, key=lambda entry: (entry.published, entry.id), reverse=True)
    return AdvisoriesPage(registry=registry, number=found.number, advisories=tuple(_row(entry) for entry in newest))


def _row(entry: Advisory) -> Withdrawn:
    return Withdrawn(
        id=entry.id, repository=entry.repository, address=f"/{entry.repository}" if entry.repository else None,
        namespace=entry.namespace, version=entry.version, digest=entry.digest, scope=entry.scope, by=entry.by,
        reason=entry.reason, date=entry.published, lifted=entry.withdrawn_on,
    )  # fmt: skip
