"""What yanks, stolen keys and deletions come to: which releases and which bytes are withdrawn, by whom.

Called within the transaction that changed something. A release is withdrawn once all its commits are; bytes are
withdrawn by the first yank that says so. A publisher's withdrawal of bytes binds their namespace, the operator's all.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace

from embhub.formats import instants
from embhub_registry.database import Connection
from embhub_registry.database.clock import now, stamp
from embhub_registry.database.releases import placement, repositories
from embhub_registry.database.releases.repositories import Repository
from embhub_registry.database.standing import withdrawals, yanks
from embhub_registry.database.standing.withdrawals import Commit, Withdrawal
from embhub_registry.http_errors import RequestDeniedError, malformed
from embhub_registry.people import notifications
from embhub_registry.repositories import repos

SCOPES = ("release", "bytes")
_AUTHORITIES = {"key-stolen": {"key-stolen"}, "operator": {"operator"}, "publisher": {"publisher", "site"}}
"""Whose yanks come to whose withdrawals: what a site of a study takes back is withdrawn as by its publisher."""


def refresh(db: Connection, repository_id: int) -> None:
    """Bring withdrawals and lists up to date after a change to a repository's yanks, commits or signers."""
    wanted = _wanted(db, repository_id)
    held = withdrawals.in_force(db, repository_id)
    withdrawals.lift(db, [number for key, number in held.items() if key not in wanted], now=stamp())
    for key, row in wanted.items():
        if key not in held:
            withdrawals.add(db, row, repository_id=repository_id)
            if row.scope == "bytes" or row.authority == "key-stolen":  # else `release.yanked` says it
                _emit(db, row)
    changed = {key[3] for key in held.keys() ^ wanted.keys() if key[0] == "bytes"}
    refresh_lists(db, {repository_id}, digests=changed)


def refresh_lists(db: Connection, repository_ids: Set[int], *, digests: Set[str] = frozenset()) -> None:
    """Hide repositories whose newest release is not recommended, and show the others; those with these bytes too."""
    with_bytes = {holder[0] for digest in digests for holder in withdrawals.holders(db, digest)}
    for identity in sorted({*repository_ids, *with_bytes}):
        head = repositories.find_ref(db, identity, repos.MAIN)
        hidden = head is not None and yanks.find(db, identity, head) is not None
        placement.set_hidden(db, identity, hidden=hidden)


def withdraw_all(db: Connection, repository: Repository, *, scope: str, reason: str, authority: str) -> None:
    """Withdraw every release of a repository that is about to be deleted."""
    for commit in {(c.version, c.digest): c for c in withdrawals.commits(db, repository.id)}.values():
        row = _row(repository, commit, scope=scope, authority=authority, reason=reason)
        if row.key not in withdrawals.in_force(db, repository.id):
            withdrawals.add(db, row, repository_id=repository.id)
            _emit(db, row)
    withdrawals.detach(db, repository.id)


def _emit(db: Connection, row: Withdrawal) -> None:
    """The reason is told on the page, to who may read it."""
    notifications.emit(
        db, "release.withdrawn", namespace=row.namespace, repository=row.repository, private=row.private,
        version=row.version, digest=row.digest, scope=row.scope, authority=row.authority,
    )  # fmt: skip


def choose_scope(db: Connection, repository: Repository, asked: str | None, *, fallback: str | None = None) -> str:
    """The scope of a deletion: what was asked for, else the bytes, unless others would lose theirs by it.

    Raises:
        RequestDeniedError: nothing was asked for, and other repositories hold the same bytes.
    """
    if asked is not None:
        return check_scope(asked)
    digests = {commit.digest for commit in withdrawals.commits(db, repository.id)}
    others = {
        f"{namespace}/{name}"
        for digest in digests
        for identity, namespace, name in withdrawals.holders(db, digest)
        if identity != repository.id
    }
    if others and fallback:
        return fallback
    if others:
        raise RequestDeniedError(
            422, "scope", f"{len(others)} other repositories hold the bytes of {repository.full_name}",
            "say which is meant: scope `release` (this repository), or `bytes` (these bytes under any name)",
        )  # fmt: skip
    return "bytes"


def check_scope(scope: str) -> str:
    """The scope itself if it is one. Raises RequestDeniedError (400)."""
    if scope not in SCOPES:
        raise malformed(f"there is no scope {scope[:40]!a}", "a scope is `release` or `bytes`")
    return scope


def _wanted(db: Connection, repository_id: int) -> dict[tuple[str, str, str, str], Withdrawal]:
    """Every withdrawal that the present yanks and stolen keys come to."""
    repository = repositories.find_by_id(db, repository_id)
    if repository is None:
        return {}
    groups: dict[tuple[str, str], list[Commit]] = {}
    for commit in withdrawals.commits(db, repository_id):
        groups.setdefault((commit.version, commit.digest), []).append(commit)
    marks = yanks.marks(db, repository_id)
    found: list[Withdrawal] = []
    for group in groups.values():
        for authority, of in _AUTHORITIES.items():
            hits = {
                commit.revision: mark
                for mark in reversed([mark for mark in marks if mark["authority"] in of])
                for commit in group
                if mark["which"] == (commit.version if mark["kind"] == "version" else commit.revision)
            }
            if not hits:
                continue
            first = next(iter(hits.values()))
            by_bytes = next((mark for mark in hits.values() if mark["scope"] == "bytes"), None)
            for scope, mark in (("bytes", by_bytes), ("release", first if len(hits) == len(group) else None)):
                if mark is not None:
                    row = _row(repository, group[0], scope=scope, authority=authority, reason=mark["reason"])
                    stolen = authority == "key-stolen"
                    found.append(replace(row, created=hits[group[0].revision]["created"]) if stolen else row)
    return {row.key: row for row in found}


def _row(repository: Repository, commit: Commit, *, scope: str, authority: str, reason: str) -> Withdrawal:
    return Withdrawal(
        repository=repository.full_name, namespace=repository.namespace, version=commit.version, digest=commit.digest,
        private=repository.private, scope=scope, authority=authority, reason=reason, created=instants.write(now()),
    )  # fmt: skip
