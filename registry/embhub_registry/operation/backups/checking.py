"""`check`: read everything back and say what is corrupt or orphaned."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from embhub.audits.report import AuditReport
from embhub.errors import ArtifactError, EmbhubError
from embhub.release.files import AUDIT
from embhub.site.signing.keys import PassphraseRequiredError
from embhub.trust import p256
from embhub_registry.database import DatabaseBusyError, DatabaseUnavailableError
from embhub_registry.database.clock import now, stamp
from embhub_registry.database.logs import root_rows
from embhub_registry.database.releases import repositories
from embhub_registry.database.standing import tombstones
from embhub_registry.repositories import repos
from embhub_registry.storage.folder import Registry
from embhub_registry.storage.log import registry_log
from embhub_registry.storage.stores.blobs import MissingBlobError, Stray

_LARGEST_KEY = 10_000
REMOVED_WITHIN = timedelta(minutes=5)
"""After an object of a deleted repository is due: a server removes it within seconds, a hundred objects a turn."""
UNFINISHED = "*.partial"  # what a copy of the database or a backup is called until it is whole


@dataclass(frozen=True)
class Orphan:
    """Something that nothing refers to: a `stray` file, or a blob by `digest`."""

    text: str
    stray: Stray | None = None
    digest: str | None = None


@dataclass
class Report:
    """`corrupt`: what was promised and is not whole. `orphans`: what nothing refers to; harmless, and removable.

    `warnings`: releases that are whole and say more than they should; `check` is clean with them.
    `purged`: how many objects of deleted repositories were looked for and are gone.
    """

    corrupt: list[str] = field(default_factory=list)
    orphans: list[Orphan] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    blobs: int = 0
    revisions: int = 0
    purged: int = 0

    @property
    def orphaned(self) -> list[str]:
        """The orphans in words."""
        return [orphan.text for orphan in self.orphans]

    @property
    def clean(self) -> bool:
        """Nothing to report."""
        return not self.corrupt and not self.orphans

    def to_json(self) -> dict[str, Any]:
        """The report as a document."""
        return {
            "clean": self.clean, "corrupt": self.corrupt, "orphaned": self.orphaned, "warnings": self.warnings,
            "blobs": self.blobs, "revisions": self.revisions, "purged": self.purged,
        }  # fmt: skip


def check(registry: Registry) -> Report:
    """Database pages and keys, every blob's digest, every commit id, every ref, keyring, root key, audit log,
    transparency log."""
    report = Report()
    report.corrupt += registry.database.problems()
    if report.corrupt:
        return report  # what a damaged database says of the rest is worth nothing
    _check_blobs(registry, report)
    _check_revisions(registry, report)
    report.warnings += find_old_reports(registry)
    _check_identity(registry, report)
    report.corrupt += registry.audit_log.problems()
    report.corrupt += registry_log.problems(registry)
    for path in sorted(registry.folder.glob(UNFINISHED)):
        text = f"unfinished write {path}"
        report.orphans.append(Orphan(text, Stray(text, path)))
    return report


def _check_blobs(registry: Registry, report: Report) -> None:
    blobs, db = registry.blobs, registry.database.connection()
    known = set()
    for row in repositories.all_blobs(db):
        report.blobs += 1
        digest = str(row["digest"])
        known.add(digest)
        if problem := blobs.verify(digest, row["size"]):
            report.corrupt.append(problem)
        elif not row["uses"]:
            report.orphans.append(Orphan(f"blob {digest}: no revision holds it", digest=digest))
    gone, kept = tombstones.purged(db), tombstones.waiting(db, now=stamp(now() - REMOVED_WITHIN))
    report.purged = len(gone)
    for digest in blobs.stored():
        if digest in known or digest in kept:
            continue
        why = f"deleted with {gone[digest]} and still there" if digest in gone else "the database does not know it"
        report.purged -= digest in gone
        report.orphans.append(Orphan(f"blob {digest}: {why}", digest=digest))
    report.orphans += [Orphan(stray.text, stray) for stray in blobs.strays()]


def _check_revisions(registry: Registry, report: Report) -> None:
    db = registry.database.connection()
    for repository in repositories.all_repositories(db):
        try:
            dict(repository.summary)  # parsed when it is looked into
        except ValueError:
            report.corrupt.append(f"{repository.full_name}: its summary cannot be read")
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


def find_old_reports(registry: Registry) -> list[str]:
    """Releases whose audit report no site may publish today: it may tell who was trained on. A line each, what to do.

    The report of every commit counts: each can be read by its id.
    """
    db = registry.database.connection()
    old: dict[str, str] = {}
    lines: dict[tuple[str, str], str] = {}
    for repository in repositories.all_repositories(db):
        name, head = repository.full_name, repositories.find_ref(db, repository.id, repos.MAIN)
        for revision in repositories.all_revisions(db, repository.id):
            entry = repositories.find_entry(db, repository.id, revision.id, AUDIT)
            if entry is None:
                continue
            if entry.digest not in old:
                old[entry.digest] = _why_refused(registry, entry.digest)
            if old[entry.digest]:
                version = revision.release_version or revision.id[:12]
                newest = " (the newest commit)" if revision.id == head else ""
                lines[name, version] = (
                    lines.get((name, version)) or f"{newest} carries an audit report that {old[entry.digest]}"
                )
    return [
        f"{name} {version}{told}, and it may tell who was trained on: "
        f"`embhub-registry curate yank {name} --version {version} --reason …` takes it out of lists, `repo delete`"
        " removes its bytes; have its publisher audit it anew"
        for (name, version), told in sorted(lines.items())
    ]


def _why_refused(registry: Registry, digest: str) -> str:
    """Why a stored report is none of today's; empty where it is one, or where other checks name the damage."""
    try:
        AuditReport.parse(registry.blobs.get(digest))
    except (DatabaseBusyError, DatabaseUnavailableError):
        raise  # it says nothing of the report
    except ArtifactError:
        return "is not of today's format"
    except (EmbhubError, OSError, MissingBlobError):
        return ""
    return ""


def _check_identity(registry: Registry, report: Report) -> None:
    try:
        if registry.has_keyring:
            registry.open_trust()
        elif root_rows.pending_keyring(registry.database.connection()) is None:
            report.corrupt.append("keyring: there is no keyring, and none waits for its signatures")
        if registry.private_keys.root_is_here and _root_fingerprint(registry) != registry.setting("root_fingerprint"):
            report.corrupt.append("keyring: keys/root.pem is another key than the one that sites pinned")
    except EmbhubError as error:
        report.corrupt.append(f"keyring: {error.message}")


def _root_fingerprint(registry: Registry) -> str:
    """The root key's; of one that is encrypted that of its public half, which lies beside it."""
    try:
        return registry.root_key().fingerprint
    except PassphraseRequiredError:
        public = registry.folder / "keys/root.pub"
        if not public.exists():
            raise
        return p256.fingerprint(p256.read_public(public.read_bytes()[:_LARGEST_KEY]))
