"""The one way into a repository: a commit, decided by admission, stored whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping

from embhub.release.files import AUDIT, AUDIT_BUNDLE, EMBEDDING, audit_bundle_of, is_attestation
from embhub_registry.admission import rules as admission
from embhub_registry.admission.listing import Described, describe
from embhub_registry.admission.rules import Admitted
from embhub_registry.database import (
    Connection,
    DatabaseBusyError,
    DatabaseUnavailableError,
    forgeable,
    placement,
    repositories,
    withdrawals,
)
from embhub_registry.database.accounts import Account
from embhub_registry.database.clock import now, stamp_after
from embhub_registry.database.repositories import Entry, Repository, Revision
from embhub_registry.http_errors import RequestDeniedError, forbidden
from embhub_registry.people import auth, notifications
from embhub_registry.repositories import access, advisories, audit_designs, audit_standing, commits, repos
from embhub_registry.repositories import withdrawals as standing
from embhub_registry.repositories.commits import CommitRequest
from embhub_registry.repositories.proposal import Proposal
from embhub_registry.repositories.repos import Snapshot
from embhub_registry.storage import log_entries, quotas, registry_log
from embhub_registry.storage.blobs import git_oid
from embhub_registry.storage.folder import Registry

ATTEMPTS = 5


def publish(
    registry: Registry, account: Account | None, namespace: str, name: str, *, branch: str, request: CommitRequest
) -> Revision:
    """Admit and store a commit; returns the new revision (or the present one where nothing would change).

    Admission sees the whole resulting tree before the first byte is stored. Blobs are durable before the one
    transaction that makes the commit visible.

    Raises:
        RequestDeniedError: not allowed, a stale parent (412), no such branch, or the rule that refused.
        StorageFullError, Busy: nothing became visible.
    """
    for _ in range(ATTEMPTS):
        db = registry.database.connection()
        repository = repos.locate(db, account, namespace, name)
        author = auth.require_author(account, namespace)
        access.require_files(db, repository, account)
        head = _head(registry, repository, branch)
        if request.parent is not None and request.parent != head.revision.id:
            raise stale(repository, request.parent, head.revision)
        present = {e.path: e for e in repositories.entries(db, repository.id, head.revision.id)}
        kept, added = commits.apply(request, {path: e.digest for path, e in present.items()})
        added = {path: data for path, data in added.items() if _changes(present.get(path), data)}
        kept |= {path for path in request.files if path not in added}
        gone = set(present) - kept - set(added)
        if not added and not gone:
            return head.revision
        if not auth.may(author, namespace, "publish"):
            _only_audit(author, set(added) | gone, namespace)
        tree = {path: registry.blobs.get(present[path].digest) for path in kept} | added
        admitted = admission.admit(
            proposal := Proposal(
                repository=repository.full_name,
                files=tree,
                before={path: e.digest for path, e in present.items()},
                versions=tuple(repositories.released_versions(db, repository.id)),
                audit_required=registry.setting("audit") == "required",
                trust=registry.trust(),
                now=now(),
                words=f"{request.title}\n{request.message}",
                caller=namespace if auth.may(author, namespace, "publish") else auth.audits_for(author),
                admin=author.admin,
                attested={path: registry.blobs.get(present[path].digest) for path in present if is_attestation(path)},
                void=forgeable.versions(db, repository.id),
                withdrawn=_withdrawn(db, namespace, tree),
            )
        )
        rows = [present[path] for path in kept] + [describe_blob(path, data) for path, data in added.items()]
        draft = Revision(
            "",
            head.revision.id,
            author.user,
            stamp_after(head.revision.created),
            request.title,
            request.message,
            admitted.version or None,
        )
        revision = repos.name_revision(repository.full_name, draft, {row.path: row.digest for row in rows})
        described = describe(repository.full_name, tree, admitted)  # YAML is slow: not while others wait to write
        if _store(registry, repository, branch, revision, rows, added, described, admitted, proposal):
            registry.audit_log.write(
                "commit", user=author.user, repository=repository.full_name, branch=branch, commit=revision.id,
                version=admitted.version or None, files=sorted(added), deleted=sorted(gone),
            )  # fmt: skip
            registry_log.publish_if_possible(registry)
            advisories.publish_if_possible(registry)  # a release that is signed anew is not withdrawn any more
            return revision
    raise RequestDeniedError(409, "busy", f"{namespace}/{name} is being changed by others", "try again in a moment")


def _withdrawn(db: Connection, namespace: str, tree: Mapping[str, bytes]) -> str | None:
    """Why the embedding in `tree` may not be published in a namespace, in words; None where it may."""
    digest = hashlib.sha256(tree.get(EMBEDDING, b"")).hexdigest()
    found = withdrawals.blocking(db, digest, namespace=namespace)
    if found is None:
        return None
    who = "the registry's operator" if found.authority == "operator" else found.namespace
    told = found.reason if found.namespace == namespace or not found.private else "its readers know the reason"
    return f"these bytes ({digest[:12]}…) were withdrawn by {who} on {found.created[:10]}: {told}"


def describe_blob(path: str, data: bytes) -> Entry:
    """What the database keeps of a file."""
    return Entry(path, hashlib.sha256(data).hexdigest(), len(data), git_oid(data))


def stale(repository: Repository, parent: str, head: Revision) -> RequestDeniedError:
    """The caller built on a commit that is not the newest any more."""
    return RequestDeniedError(
        412, "parent", f"{repository.full_name} has moved on: {parent} is not its newest commit ({head.id})",
        "look at the newest commit, then push again",
    )  # fmt: skip


def _head(registry: Registry, repository: Repository, branch: str) -> Snapshot:
    db = registry.database.connection()
    if not any(r["kind"] == "branch" and r["name"] == branch for r in repositories.list_refs(db, repository.id)):
        raise RequestDeniedError(404, "revision", f"{repository.full_name} has no branch {branch}", "commit to main",
                     code="RevisionNotFound")  # fmt: skip
    return repos.at(db, repository, branch)


def _changes(present: Entry | None, data: bytes) -> bool:
    return present is None or present.digest != hashlib.sha256(data).hexdigest()


def _only_audit(account: Account, paths: set[str], namespace: str) -> None:
    auditor = auth.audits_for(account)
    own = {AUDIT, AUDIT_BUNDLE if auditor == namespace else audit_bundle_of(auditor)}
    if other := paths - own:
        raise forbidden(
            f"{account.user} is an auditor and may not change {', '.join(sorted(other))}",
            f"an auditor adds {' and '.join(sorted(own))}",
        )


def _store(
    registry: Registry,
    repository: Repository,
    branch: str,
    revision: Revision,
    rows: list[Entry],
    added: Mapping[str, bytes],
    described: Described,
    admitted: Admitted,
    proposal: Proposal,
) -> bool:
    """Make the commit durable and visible; False where the branch moved meanwhile."""
    written: list[str] = []
    began = registry.blobs.began()

    def name(db: Connection) -> bool:
        if registry.blobs.is_late(began):
            return False  # a collector may have taken what was stored that long ago: stored again
        if repositories.find_ref(db, repository.id, branch) != revision.parent:
            return False
        if proposal.withdrawn is None and _withdrawn(db, repository.namespace, proposal.files):
            return False  # withdrawn meanwhile: judged again
        repositories.add_revision(db, repository.id, revision, rows)
        if added:
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
        if branch == repos.MAIN and revision.release_version not in (None, *proposal.versions):
            notifications.emit(
                db, "release.published", namespace=repository.namespace, repository=repository.full_name,
                private=repository.private, version=revision.release_version, commit=revision.id,
            )  # fmt: skip
        return True

    try:
        with registry.storing.together():
            for data in added.values():
                written.append(registry.blobs.put(data))
            stored = registry.sequencer.run(name)
    except DatabaseUnavailableError:
        raise  # it may have been stored all the same: what nothing names is `prune`'s
    except BaseException:
        _forget(registry, written)
        raise
    if not stored:
        _forget(registry, written)
    return stored


def _forget(registry: Registry, written: list[str]) -> None:
    """Remove blobs that no commit names. Alone: another commit may bring the same bytes, and not be stored yet."""
    if not registry.blobs.shares_lock:
        return  # what nothing names is swept once it is old
    with contextlib.suppress(DatabaseBusyError), registry.storing:
        for digest in written:
            if not repositories.blob_is_known(registry.database.connection(), digest):
                registry.blobs.delete(digest)
