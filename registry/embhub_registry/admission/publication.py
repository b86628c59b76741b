"""The one way into a repository: a commit, decided by admission, stored whole or not at all."""

from __future__ import annotations

import hashlib
from functools import partial

from embhub.release.files import (
    AUDIT,
    AUDIT_BUNDLE,
    CARD,
    EMBEDDING,
    PUBLISH_BUNDLE,
    audit_bundle_of,
    is_approval,
)
from embhub_registry.admission import proposing
from embhub_registry.admission.storing import Change, Judged, describe_blob, judge, store_revision
from embhub_registry.database import Connection
from embhub_registry.database.people.accounts import Account
from embhub_registry.database.releases import repositories
from embhub_registry.database.releases.repositories import Entry, Repository, Revision
from embhub_registry.database.statements import proposals
from embhub_registry.database.statements.proposals import Proposal as Proposed
from embhub_registry.http_errors import RequestDeniedError, forbidden
from embhub_registry.people import auth
from embhub_registry.repositories import access, commits, repos, reviewing
from embhub_registry.repositories.commits import CommitRequest
from embhub_registry.repositories.repos import Snapshot
from embhub_registry.storage.folder import Registry

__all__ = ["ATTEMPTS", "busy", "describe_blob", "head_of", "publish", "stale"]

ATTEMPTS = 5


def publish(
    registry: Registry, account: Account | None, namespace: str, name: str, *, branch: str, request: CommitRequest
) -> Revision | Proposed:
    """Admit and store a commit; returns the new revision (or the present one where nothing would change).

    Admission sees the whole resulting tree before the first byte is stored. Blobs are durable before the one
    transaction that makes the commit visible. Where releases need approval, or an embargo was asked for, the commit is
    kept as a proposal instead, which is returned.

    Raises:
        RequestDeniedError: not allowed, a stale parent (412), no such branch, or the rule that refused.
        StorageFullError, Busy: nothing became visible.
    """
    for _ in range(ATTEMPTS):
        db = registry.database.connection()
        repository = repos.locate(db, account, namespace, name)
        author = auth.require_author(account, namespace)
        access.require_files(db, repository, account)
        head = head_of(registry, repository, branch)
        if request.parent is not None and request.parent != head.revision.id:
            raise stale(repository, request.parent, head.revision)
        change = _change(db, repository, branch, head, author, request)
        if change is None:
            return head.revision
        judged = judge(registry, change)
        needed = proposals.required(db, namespace, repository.name)
        if needed or request.embargo is not None:
            kept = proposing.keep(registry, author, judged, needed=needed, not_before=request.embargo)
            if kept is not None:
                return kept
            continue
        revision = _publish_now(registry, judged, author)
        if revision is not None:
            return revision
    raise busy(namespace, name)


def _publish_now(registry: Registry, judged: Judged, author: Account) -> Revision | None:
    """Without approval; ends what others had proposed on top of the commit before."""
    repository, overtaken = judged.change.repository, list[Proposed]()

    def end_overtaken(db: Connection, _: Revision) -> None:
        overtaken.extend(reviewing.stale(db, repository.id, by=author.user))

    may_be_seen = partial(_may_be_seen, change=judged.change, author=author)
    revision = store_revision(registry, judged, first=may_be_seen, then=end_overtaken)
    if revision is not None:
        reviewing.note_replaced(registry, overtaken, by=revision.id)
    return revision


def _may_be_seen(db: Connection, change: Change, author: Account) -> bool:
    """Asked within the transaction: a rule that was made meanwhile holds for this commit too.

    Raises:
        RequestDeniedError: 403 where its author was shut out meanwhile.
    """
    reviewing.require_same_role(db, author, change.caller)
    repository = change.repository
    return not proposals.required(db, repository.namespace, repository.name)


def _change(
    db: Connection, repository: Repository, branch: str, head: Snapshot, author: Account, request: CommitRequest
) -> Change | None:
    """What a commit changes; None where nothing. Approvals are the registry's to add and to remove."""
    namespace = repository.namespace
    present = {e.path: e for e in repositories.entries(db, repository.id, head.revision.id)}
    kept, added = commits.apply(request, {path: e.digest for path, e in present.items()})
    added = {path: data for path, data in added.items() if _changes(present.get(path), data) and not is_approval(path)}
    kept |= {path for path in request.files if path not in added and path in present}
    approved = {path for path in present if is_approval(path)}
    same = {EMBEDDING, PUBLISH_BUNDLE, CARD, AUDIT}.isdisjoint(set(added) | (set(present) - kept - set(added)))
    kept = kept | approved if same else kept - approved
    gone = set(present) - kept - set(added)
    if not added and not gone:
        return None
    if not auth.may(author, namespace, "publish"):
        _only_audit(author, set(added) | gone, namespace)
    return Change(
        repository=repository, branch=branch, head=head.revision, present=present, kept=frozenset(kept), added=added,
        title=request.title, message=request.message, author=author.user, admin=author.admin,
        caller=namespace if auth.may(author, namespace, "publish") else auth.audits_for(author),
    )  # fmt: skip


def busy(namespace: str, name: str) -> RequestDeniedError:
    """Others were faster, again and again."""
    return RequestDeniedError(409, "busy", f"{namespace}/{name} is being changed by others", "try again in a moment")


def stale(repository: Repository, parent: str, head: Revision) -> RequestDeniedError:
    """The caller built on a commit that is not the newest any more."""
    return RequestDeniedError(
        412, "parent", f"{repository.full_name} has moved on: {parent} is not its newest commit ({head.id})",
        "look at the newest commit, then push again",
    )  # fmt: skip


def head_of(registry: Registry, repository: Repository, branch: str) -> Snapshot:
    """The newest commit of a branch. Raises RequestDeniedError (404) where there is no such branch."""
    db = registry.database.connection()
    if not any(r["kind"] == "branch" and r["name"] == branch for r in repositories.list_refs(db, repository.id)):
        raise RequestDeniedError(404, "revision", f"{repository.full_name} has no branch {branch}", "commit to main",
                     code="RevisionNotFound")  # fmt: skip
    return repos.at(db, repository, branch, repos.OPERATOR)


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
