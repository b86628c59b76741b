"""Deleting a repository: a tombstone keeps the name and the reason, the bytes are removed, and `check` can tell."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

from embhub.errors import ConfigError, UsageError
from embhub_registry.database.clock import now, stamp
from embhub_registry.database.people.accounts import Account
from embhub_registry.database.releases import repositories
from embhub_registry.database.standing import tombstones
from embhub_registry.database.standing import withdrawals as database_withdrawals
from embhub_registry.database.statements import attestations, evaluation_rows
from embhub_registry.http_errors import forbidden, no_repository
from embhub_registry.people import auth
from embhub_registry.repositories import advisories, near_copies, repos, withdrawals
from embhub_registry.repositories.yanking import check_reason
from embhub_registry.storage import configuration
from embhub_registry.storage.folder import Registry


def delete(
    registry: Registry, account: Account, namespace: str, name: str, *, reason: str = "", scope: str | None = None
) -> None:
    """Remove a repository as one of its people, or as an admin; what was published is an admin's to delete.

    `scope` as for `delete_as_operator`; stock clients cannot say one, so that without it the release alone is withdrawn
    where other repositories hold the same bytes. The bytes go with a later turn of the server (`purge`).

    Raises:
        RequestDeniedError: no such repository, not the caller's, or it holds releases, which a publisher may only yank.
    """
    db = registry.database.connection()
    repository = repos.locate(db, account, namespace, name)
    auth.require(account, namespace, "delete-unreleased")
    if repositories.released_versions(db, repository.id):
        if not account.admin:
            raise forbidden(
                f"{repository.full_name} has published releases; a publisher may not delete them",
                "yank them: POST /embhub/v1/yank/NAMESPACE/NAME with a reason; or ask the registry's admin",
            )
        auth.require(account, namespace, "delete-released")
    _bury(
        registry, namespace, repository.name, author=account.user, released_too=account.admin,
        reason=reason or "deleted by an admin of this registry", scope=scope, fallback="release",
    )  # fmt: skip


def delete_as_operator(registry: Registry, full_name: str, *, reason: str, scope: str | None = None) -> dict[str, Any]:
    """The same from the command line. A running server removes the bytes within seconds, for none can race with it.

    Args:
        scope: `release`, or `bytes`: the same bytes are not admitted again under any name. By default the bytes; where
            other repositories hold them too, the scope has to be given.

    Raises:
        RequestDeniedError: no such repository or scope, no reason, or a scope is needed.
    """
    namespace, name = split(full_name)
    releases = _bury(
        registry, namespace, name, author="operator", reason=check_reason(reason), released_too=True, scope=scope
    )
    try:
        with registry.alone("purge"):
            removed = purge(registry, repository=full_name)
    except ConfigError:  # a server is running: at its next turn
        removed = None
    return {"repository": full_name, "releases": releases, "purged": removed}


def free(registry: Registry, full_name: str) -> dict[str, Any]:
    """Let the name of a deleted repository be used again.

    Evaluations under it are forgotten, and audits of it are the namespace's alone: it may have been private.

    Raises:
        UsageError: nothing was deleted under this name.
    """
    namespace, name = split(full_name)
    with registry.database.writing() as db:
        if not tombstones.remove(db, namespace, name):
            raise UsageError(f"nothing was deleted as {full_name}", "`repo list` shows what was")
        evaluation_rows.forget_all(db, full_name)
        attestations.close(db, full_name, now=stamp())
    registry.audit_log.write("name-freed", repository=full_name)
    return {"repository": full_name}


def purge(registry: Registry, *, repository: str = "", at_most: int | None = None) -> int:
    """Remove the bytes that are due; returns how many objects went. Only in the process that serves, or alone.

    `storing`, or in PostgreSQL the row of an object, keeps a commit from bringing it again between the last look and
    its removal.

    Args:
        repository: Of this deleted one alone.
        at_most: So many objects are looked at, chosen at random: some that have to stay must not keep others from
            their turn.
    """
    doomed = tombstones.doomed(registry.database.connection(), until=stamp(), repository=repository)
    if at_most is not None and len(doomed) > at_most:
        doomed = random.sample(doomed, at_most)
    removed = sum(_remove(registry, digest) for digest in doomed)
    if removed:
        registry.audit_log.write("purged", objects=removed)
    return removed


def _remove(registry: Registry, digest: str) -> bool:
    with registry.storing, registry.database.writing() as db:
        if tombstones.spare(db, digest, until=stamp()):
            return False
        registry.blobs.delete(digest)
        tombstones.mark_purged(db, digest, now=stamp())
    return True


def split(full_name: str) -> tuple[str, str]:
    """`namespace/name` as two.

    Raises:
        UsageError: it is not of that form.
    """
    namespace, slash, name = full_name.partition("/")
    if not slash or not namespace or not name:
        raise UsageError(f"{full_name!r} is not NAMESPACE/NAME", "for example radboud/prostate-csPCa")
    return namespace, name


def _bury(
    registry: Registry,
    namespace: str,
    name: str,
    *,
    author: str,
    reason: str,
    released_too: bool,
    scope: str | None,
    fallback: str | None = None,
) -> list[str]:
    """The one transaction; returns the versions that were published. A name without releases is free at once."""
    with registry.storing, registry.database.writing() as db:
        repository = repositories.find(db, namespace, name)
        if repository is None:
            raise no_repository(f"{namespace}/{name}")
        releases = repositories.released_versions(db, repository.id)
        if releases and not released_too:  # published while the caller asked
            raise forbidden(f"{repository.full_name} has published releases", "yank them")
        if releases:
            scope = withdrawals.choose_scope(db, repository, scope, fallback=fallback)
            withdrawals.withdraw_all(db, repository, scope=scope, reason=reason, authority="operator")
            restricted = bool(repository.gated) or repository.disabled or repository.set_aside
            tombstones.add(db, namespace, name, private=repository.private, reason=reason, author=author,
                           now=stamp(), releases=releases, restricted=restricted)  # fmt: skip
        digests = {commit.digest for commit in database_withdrawals.commits(db, repository.id)}
        unused = repositories.delete(db, repository.id)
        near_copies.erase(db, unused)
        withdrawals.refresh_lists(db, set(), digests=digests if scope == "bytes" else set())
        days = configuration.number(db, "retention.deleted_days") if releases else 0.0
        tombstones.doom(db, unused, repository=f"{namespace}/{name}", due=stamp(now() + timedelta(days=days)))
    registry.audit_log.write(
        "repository-deleted", user=author, repository=f"{namespace}/{name}", releases=releases,
        scope=scope if releases else None, reason=reason, objects=len(unused),
    )  # fmt: skip
    advisories.publish_if_possible(registry)
    return releases
