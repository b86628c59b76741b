"""A change to a repository: judged by admission, its bytes made durable, and made visible in one transaction."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from embhub.release.files import is_attestation
from embhub_registry.admission import rules as admission
from embhub_registry.admission.listing import Described, describe
from embhub_registry.admission.rules import Admitted
from embhub_registry.database import Connection, DatabaseBusyError
from embhub_registry.database.clock import now, stamp_after
from embhub_registry.database.releases import number_rows, placement, repositories
from embhub_registry.database.releases.number_rows import Numbers
from embhub_registry.database.releases.repositories import Entry, Repository, Revision
from embhub_registry.database.standing import quarantine, withdrawals, yanks
from embhub_registry.database.statements import study_rows
from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.people import notifications
from embhub_registry.repositories import advisories, audit_designs, audit_standing, near_copies, repos, studies
from embhub_registry.repositories import withdrawals as standing
from embhub_registry.repositories.proposal import Proposal
from embhub_registry.storage import log_entries, quotas
from embhub_registry.storage.folder import Registry
from embhub_registry.storage.log import registry_log
from embhub_registry.storage.stores.blobs import git_oid, sha256

First = Callable[[Connection], bool]
Then = Callable[[Connection, Revision], None]


@dataclass(frozen=True)
class Change:
    """What a commit makes of a branch: files that stay, files that come, files that go. `head` is what it builds on.

    `author` is the account's name, `caller` and `admin` what admission asks of it.
    """

    repository: Repository
    branch: str
    head: Revision
    present: Mapping[str, Entry]
    kept: frozenset[str]
    added: Mapping[str, bytes]
    title: str
    message: str
    author: str
    caller: str
    admin: bool

    @property
    def gone(self) -> list[str]:
        """The files that it removes."""
        return sorted(set(self.present) - self.kept - set(self.added))

    @cached_property
    def rows(self) -> list[Entry]:
        """Every file that the branch has then."""
        return [self.present[path] for path in self.kept] + [describe_blob(*item) for item in self.added.items()]


@dataclass(frozen=True)
class Judged:
    """A change that admission takes, and what lists say of it."""

    change: Change
    proposal: Proposal
    admitted: Admitted
    described: Described
    numbers: Numbers | None


def judge(registry: Registry, change: Change) -> Judged:
    """Ask admission, by the keyring and the withdrawals of this moment.

    Raises:
        RequestDeniedError: the rule that refused; `quarantined` where the embedding is set aside, under any name.
    """
    db, repository = registry.database.connection(), change.repository
    tree = {path: registry.blobs.get(change.present[path].digest) for path in change.kept} | dict(change.added)
    numbers = near_copies.of(tree)
    proposal = Proposal(
        repository=repository.full_name,
        files=tree,
        before={path: e.digest for path, e in change.present.items()},
        versions=tuple(repositories.released_versions(db, repository.id)),
        audit_required=registry.setting("audit") == "required",
        trust=registry.trust(),
        now=now(),
        words=f"{change.title}\n{change.message}",
        caller=change.caller,
        admin=change.admin,
        attested={
            path: registry.blobs.get(change.present[path].digest) for path in change.present if is_attestation(path)
        },
        void=yanks.stolen_versions(db, repository.id),
        withdrawn=_withdrawn(db, repository.namespace, numbers),
        studies=studies.standing(db, repository.full_name),
    )
    if _is_set_aside(db, numbers):
        raise RequestDeniedError(
            422, "quarantined", "these bytes, or these numbers, are set aside while this registry looks at them",
            "wait until its operator shows them again, or withdraws them",
        )  # fmt: skip
    admitted = admission.admit(proposal)
    # YAML is slow: not while others wait to write
    return Judged(change, proposal, admitted, describe(repository.full_name, tree, admitted), numbers)


def store_revision(registry: Registry, judged: Judged, *, first: First, then: Then | None = None) -> Revision | None:
    """Make a change visible; None where the branch moved meanwhile, or `first` does not agree.

    Both are called within the transaction. `first` writes nothing; `then` is called once the change is visible in it.
    """
    change, version = judged.change, judged.admitted.version or None
    created = stamp_after(change.head.created)
    draft = Revision("", change.head.id, change.author, created, change.title, change.message, version)
    revision = repos.name_revision(change.repository.full_name, draft, {row.path: row.digest for row in change.rows})

    def name(db: Connection) -> bool:
        if not first(db) or not _make_visible(registry, db, judged, revision):
            return False
        if then is not None:
            then(db, revision)
        return True

    if not store(registry, judged, name):
        return None
    registry.audit_log.write(
        "commit", user=change.author, repository=change.repository.full_name, branch=change.branch, commit=revision.id,
        version=version, files=sorted(change.added), deleted=change.gone,
    )  # fmt: skip
    registry_log.publish_if_possible(registry)
    advisories.publish_if_changed(registry)  # a release that is signed anew is not withdrawn any more
    return revision


def _withdrawn(db: Connection, namespace: str, numbers: Numbers | None) -> str | None:
    """Why an embedding with these numbers may not be published in a namespace, in words; None where it may."""
    names = near_copies.files_like(db, numbers) if numbers else []
    found = next(filter(None, (withdrawals.blocking(db, name, namespace=namespace) for name in names)), None)
    if found is None or numbers is None:
        return None
    who = "the registry's operator" if found.authority == "operator" else found.namespace
    told = found.reason if found.namespace == namespace or not found.private else "its readers know the reason"
    what = "these bytes" if found.digest == numbers.file else "these numbers, under another header,"
    return f"{what} ({found.digest[:12]}…) were withdrawn by {who} on {found.created[:10]}: {told}"


def _is_set_aside(db: Connection, numbers: Numbers | None) -> bool:
    """Whether an embedding with these numbers is in quarantine, in this repository or another."""
    return numbers is not None and any(quarantine.has_bytes(db, name) for name in near_copies.files_like(db, numbers))


def describe_blob(path: str, data: bytes) -> Entry:
    """What the database keeps of a file."""
    return Entry(path, hashlib.sha256(data).hexdigest(), len(data), git_oid(data))


def _make_visible(registry: Registry, db: Connection, judged: Judged, revision: Revision) -> bool:
    change, proposal, admitted = judged.change, judged.proposal, judged.admitted
    repository, described, branch = change.repository, judged.described, change.branch
    if repositories.find_ref(db, repository.id, branch) != revision.parent:
        return False
    if registry.trust().keyring.version != proposal.trust.keyring.version:
        return False  # a key was revoked meanwhile, or replaced: judged again, by the newest keyring
    if proposal.withdrawn is None and _withdrawn(db, repository.namespace, judged.numbers):
        return False  # withdrawn meanwhile: judged again
    if _is_set_aside(db, judged.numbers):
        return False
    study = proposal.study if admitted.verified is not None else None
    if study is not None and studies.standing(db, repository.full_name).get(study):
        return False  # somebody withdrew meanwhile
    if judged.numbers is not None:
        number_rows.add(db, judged.numbers)
    repositories.add_revision(db, repository.id, revision, change.rows)
    if change.added:
        quotas.check(db, repository.namespace, "bytes")
    if revision.release_version:
        quotas.check(db, repository.namespace, "releases")
    repositories.set_ref(db, repository.id, kind="branch", name=branch, revision_id=revision.id)
    if branch == repos.MAIN:
        repositories.describe(db, repository.id, described.summary, tags=described.tags, text=described.text)
    else:
        placement.raise_to_top(db, repository.id)
    standing.refresh(db, repository.id)
    if admitted.verified is not None:
        audit_standing.withdraw(db, proposal)
        audit_standing.record(db, admitted.verified, proposal.files, registry.trust().keyring)
        log_entries.add_release(db, proposal.files, registry.trust().keyring)
        audit_designs.note_release(db, proposal.files, registry.trust().keyring)
    if study is not None:
        study_rows.release(db, study, now=revision.created, since=repository.created)
    if branch == repos.MAIN and revision.release_version not in (None, *proposal.versions):
        notifications.emit(
            db, "release.published", namespace=repository.namespace, repository=repository.full_name,
            private=repository.private, version=revision.release_version, commit=revision.id,
        )  # fmt: skip
    return True


def store(registry: Registry, judged: Judged, name: Callable[[Connection], bool]) -> bool:
    """Store the new files, and let `name` name them in one transaction; False where it names none.

    In PostgreSQL they are stored in that very transaction: what a quota refuses, or loses a race, was never there. In a
    folder they are durable before, and removed again.
    """
    if registry.blobs.is_transactional:
        return registry.sequencer.run(lambda db: name(db) and _bring(registry, judged))
    written: list[str] = []
    try:
        with registry.storing.together():
            for data in judged.change.added.values():
                written.append(registry.blobs.put(data))
            stored = registry.sequencer.run(name)
    except BaseException:
        _forget(registry, written)
        raise
    if not stored:
        _forget(registry, written)
    return stored


def _bring(registry: Registry, judged: Judged) -> bool:
    """Store the files within the transaction that named them, by digest: see `database.file_contents`."""
    for data in sorted(judged.change.added.values(), key=sha256):
        registry.blobs.put(data)
    return True


def _forget(registry: Registry, written: list[str]) -> None:
    """Remove blobs that no commit names. Alone: another commit may bring the same bytes, and not be stored yet."""
    with contextlib.suppress(DatabaseBusyError), registry.storing:
        for digest in written:
            if not repositories.blob_is_known(registry.database.connection(), digest):
                registry.blobs.delete(digest)
