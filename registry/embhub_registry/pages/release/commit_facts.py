"""What a page says of a repository's commits beside what they hold: which were approved, and which are set aside."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from embhub_registry.database import Connection
from embhub_registry.database.people.accounts import Account
from embhub_registry.database.releases.repositories import Repository
from embhub_registry.database.standing import quarantine
from embhub_registry.database.statements import proposals
from embhub_registry.pages.release.page_facts import SetAside, Version
from embhub_registry.repositories import repos


def set_aside(db: Connection, repository: Repository, reader: Account | None) -> tuple[SetAside, ...]:
    """What is in quarantine, for who may see it."""
    if not repository.set_aside or not repos.sees_set_aside(repository, reader):
        return ()
    return tuple(
        SetAside(
            revision=row.revision, version=row.version, reason=row.reason, date=row.date,
            address=f"/{quote(repository.full_name)}/commit/{row.revision}",
        )
        for row in quarantine.of(db, repository.id)
    )  # fmt: skip


def approved(db: Connection, repository_id: int, versions: Sequence[Version]) -> list[tuple[Version, str, int]]:
    """Which commits were approved before they were published, when, and by how many."""
    made = proposals.of_revision(db, repository_id)
    found = []
    for item in versions:
        if item.revision in made and (given := proposals.approvals(db, made[item.revision].id)):
            found.append((item, max(one.created for one in given), len(given)))
    return found
