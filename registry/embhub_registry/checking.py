"""`check`: read everything back and say what is corrupt or orphaned."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from embhub.errors import EmbhubError
from embhub_registry import repos
from embhub_registry.database import repositories
from embhub_registry.folder import Registry


@dataclass
class Report:
    """`corrupt`: what was promised and is not whole. `orphaned`: what nothing refers to; harmless, and removable."""

    corrupt: list[str] = field(default_factory=list)
    orphaned: list[str] = field(default_factory=list)
    blobs: int = 0
    revisions: int = 0

    @property
    def clean(self) -> bool:
        """Nothing to report."""
        return not self.corrupt and not self.orphaned

    def to_json(self) -> dict[str, Any]:
        """The report as a document."""
        return {
            "clean": self.clean, "corrupt": self.corrupt, "orphaned": self.orphaned,
            "blobs": self.blobs, "revisions": self.revisions,
        }  # fmt: skip


def check(registry: Registry) -> Report:
    """Database pages and keys, every blob's digest, every commit id, every ref, the keyring's signature."""
    report = Report()
    report.corrupt += registry.database.problems()
    if report.corrupt:
        return report  # what a damaged database says of the rest is worth nothing
    _check_blobs(registry, report)
    _check_revisions(registry, report)
    try:
        registry.open_trust()
        registry.root_key()
    except EmbhubError as error:
        report.corrupt.append(f"keyring: {error.message}")
    return report


def _check_blobs(registry: Registry, report: Report) -> None:
    known = set()
    for row in repositories.all_blobs(registry.database.connection()):
        report.blobs += 1
        known.add(row["digest"])
        if problem := registry.blobs.verify(row["digest"], row["size"]):
            report.corrupt.append(problem)
        elif not row["uses"]:
            report.orphaned.append(f"blob {row['digest']}: no revision holds it")
    report.orphaned += [
        f"blob {digest}: the database does not know it" for digest in registry.blobs.stored() if digest not in known
    ]
    report.orphaned += [f"unfinished write {path}" for path in registry.blobs.left_over()]


def _check_revisions(registry: Registry, report: Report) -> None:
    db = registry.database.connection()
    for repository in repositories.all_repositories(db):
        revisions = {revision.id: revision for revision in repositories.all_revisions(db, repository.id)}
        for revision in revisions.values():
            report.revisions += 1
            files = {entry.path: entry.digest for entry in repositories.entries(db, repository.id, revision.id)}
            if repos.commit_id(repository.full_name, revision, files) != revision.id:
                report.corrupt.append(f"{repository.full_name}@{revision.id}: its content gives another id")
            if revision.parent is not None and revision.parent not in revisions:
                report.corrupt.append(f"{repository.full_name}@{revision.id}: its parent {revision.parent} is gone")
        if repositories.find_ref(db, repository.id, repos.MAIN) is None:
            report.corrupt.append(f"{repository.full_name}: no branch {repos.MAIN}")
