"""Use cases around a repository: create, find, read, delete, refs. Publishing has a module of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import rfc8785

from embhub_registry.database import Connection
from embhub_registry.database.clock import stamp
from embhub_registry.database.connection import Row
from embhub_registry.database.people import accounts
from embhub_registry.database.people.accounts import Account
from embhub_registry.database.releases import histories, repositories
from embhub_registry.database.releases.repositories import Entry, Repository, Revision
from embhub_registry.database.standing import quarantine, tombstones, yanks
from embhub_registry.http_errors import (
    RequestDeniedError,
    deleted,
    forbidden,
    forged,
    no_entry,
    no_repository,
    no_revision,
    set_aside,
    token_needed,
)
from embhub_registry.people import auth
from embhub_registry.people.names import check_ref, check_repository, is_commit
from embhub_registry.storage import configuration, quotas
from embhub_registry.storage.folder import Registry

MAIN = "main"
HEAD = "HEAD"  # what git, and the Hub's JavaScript client, call the default branch
MAX_REFS = 1000  # branches and tags of a repository: a list of them is one answer
Reader = Account | Literal["operator"] | None
OPERATOR: Reader = "operator"  # reads what nobody is served: for the program's own use


@dataclass(frozen=True)
class Snapshot:
    """A repository at one commit. `moving` where it was asked for by branch or tag.

    `set_aside` where this commit is in quarantine: what is told of it is for this reader alone.
    """

    repository: Repository
    revision: Revision
    moving: bool
    set_aside: bool = False


def commit_id(full_name: str, revision: Revision, files: Mapping[str, str]) -> str:
    """The commit's name: 160 bits of SHA-256 over all that it says; `files` maps path to the blob's SHA-256."""
    content = {
        "repository": full_name, "parent": revision.parent, "author": revision.author, "created": revision.created,
        "title": revision.title, "message": revision.message, "release": revision.release_version, "files": dict(files),
    }  # fmt: skip
    return hashlib.sha256(rfc8785.dumps(content)).hexdigest()[:40]


def name_revision(full_name: str, revision: Revision, files: Mapping[str, str]) -> Revision:
    """The same commit under its id."""
    return Revision(
        commit_id(full_name, revision, files), revision.parent, revision.author, revision.created, revision.title,
        revision.message, revision.release_version,
    )  # fmt: skip


def create(
    registry: Registry, account: Account | None, namespace: str | None, name: str, *,
    private: bool | None = None, gated: str | None = None,
) -> Repository:  # fmt: skip
    """A new repository with an empty first commit, so that `main` exists from the start.

    Who states no visibility, neither `private` nor `gated` ("" for no gate), gets the setting `repositories.default`.

    Raises:
        RequestDeniedError: no such namespace, not the caller's, a bad name, over quota, or the repository exists
        (409) or
            was deleted (410).
    """
    if account is None:
        raise token_needed("creating a repository")
    namespace = namespace or account.namespace
    full_name = check_repository(namespace, name)
    with registry.database.writing() as db:
        if not accounts.namespace_exists(db, namespace):
            raise forbidden(
                f"the namespace {namespace!r} does not exist on this registry",
                f"publish under {account.namespace!r}, or ask the registry's admin to add {namespace!r}",
                rule="namespace",
            )
        auth.require(account, namespace, "create")
        present = repositories.find_folded(db, namespace, name)
        if present is not None:
            by = "case" if present.lower() == name.lower() else "case, '.', '_' and '-'"
            same = "" if present == name else f", which differs from {full_name} by {by} alone"
            text = f"{namespace}/{present} exists already{same}"
            raise RequestDeniedError(
                409, "exists", text, "push to it, or choose another name", present=f"{namespace}/{present}"
            )
        buried = tombstones.find(db, namespace, name)
        if buried is not None:
            said = f"{buried.full_name} was deleted on {buried.created[:10]}: {buried.reason}"
            raise RequestDeniedError(410, "deleted", said,
                         "choose another name, or ask the registry's admin to free this one: `repo free`")  # fmt: skip
        if private is None and gated is None:
            default = configuration.word(db, "repositories.default")
            private, gated = default == "private", "manual" if default == "gated" else ""
        private, gated = bool(private), gated or ""
        identity = repositories.add(db, namespace, name, private=private, gated=gated, now=stamp())
        quotas.check(db, namespace, "repositories")
        blank = Revision("", None, account.user, stamp(), "Create the repository", "")
        first = name_revision(full_name, blank, {})
        repositories.add_revision(db, identity, first, [])
        repositories.set_ref(db, identity, kind="branch", name=MAIN, revision_id=first.id)
        found = repositories.find(db, namespace, name)
    assert found is not None  # noqa: S101  # made within the same transaction
    registry.audit_log.write(
        "repository-created", user=account.user, repository=full_name, private=private, gated=gated or None
    )
    return found


def locate(db: Connection, account: Account | None, namespace: str, name: str) -> Repository:
    """The repository, where the caller may see it.

    What is read of the database for a private one of somebody else is what is read for an absent one: neither the
    answer nor its time says which it was.

    Raises:
        RequestDeniedError: 404; a private one of somebody else looks like an absent one. The hint names one whose name
            reads alike, if the caller may see that. 410 where it was deleted.
    """
    private = repositories.find_visibility(db, namespace, name)
    if private is not None and auth.may_read(account, namespace, private=private):
        found = find(db, namespace, name)
        if found is not None and auth.may_read(account, namespace, private=found.private):
            return found
    buried = tombstones.find(db, namespace, name)
    if private is None and buried is not None and auth.may_read(account, namespace, private=buried.private):
        raise deleted(buried.full_name, buried.created, buried.reason)
    near = repositories.find_alike(db, namespace, name, private=auth.may_read(account, namespace, private=True))
    raise no_repository(f"{namespace}/{name}", near=f"{namespace}/{near}" if near else "")


def find(db: Connection, namespace: str, name: str) -> Repository | None:
    """The repository of this name, in whatever case it is asked for: `create` counts the two as one too."""
    return repositories.find(db, namespace, name) or repositories.find_in_any_case(db, namespace, name)


def at(db: Connection, repository: Repository, revision: str, reader: Reader) -> Snapshot:
    """The repository at a branch, tag, released version, whole commit id or the first digits of one.

    Raises:
        RequestDeniedError: 404 RevisionNotFound, also for a commit that is set aside and not for this reader.
    """
    moving = not is_commit(revision)
    target = _resolve(db, repository, revision) if moving else revision
    found = repositories.find_revision(db, repository.id, target) if target else None
    if found is None:
        raise no_revision(repository.full_name, revision)
    aside = repository.set_aside and found.id in quarantine.commits(db, repository.id)
    if aside and not sees_set_aside(repository, reader):
        raise set_aside(repository.full_name, revision)
    return Snapshot(repository, found, moving, set_aside=aside)


def sees_set_aside(repository: Repository, reader: Reader) -> bool:
    """Whether releases in quarantine are shown to this reader: publishers, approvers and admins."""
    if reader is None or reader == OPERATOR:
        return reader is not None
    assert isinstance(reader, Account)  # noqa: S101  # what is left
    return auth.may(reader, repository.namespace, "see-quarantined")


def hidden_from(db: Connection, repository: Repository, reader: Reader) -> frozenset[str]:
    """The commits of a repository that this reader is not shown, because they are set aside."""
    if not repository.set_aside or sees_set_aside(repository, reader):
        return frozenset()
    return quarantine.commits(db, repository.id)


def hides_bytes(db: Connection, repository: Repository, digest: str, reader: Reader) -> bool:
    """Whether the embedding with this SHA-256 is set aside in the repository, and this reader is not shown it."""
    if not repository.set_aside or sees_set_aside(repository, reader):
        return False
    return quarantine.has_bytes(db, digest, repository_id=repository.id)


def refuse_forged(db: Connection, snapshot: Snapshot) -> None:
    """A release whose only good signature is a stolen key's is read by its exact commit alone.

    Raises:
        RequestDeniedError: 410, it was asked for by branch, tag or version.
    """
    taken = yanks.find(db, snapshot.repository.id, snapshot.revision.id) if snapshot.moving else None
    if taken is not None and taken.by == "key-stolen":
        raise forged(snapshot.repository.full_name, taken.reason)


def history(db: Connection, snapshot: Snapshot, reader: Reader, *, limit: int) -> list[Revision]:
    """A commit and those before it that this reader is shown, newest first."""
    hidden = hidden_from(db, snapshot.repository, reader)
    line = histories.read(db, snapshot.repository.id, snapshot.revision.id, limit=limit + len(hidden))
    return [revision for revision in line if revision.id not in hidden][:limit]


def count_history(db: Connection, snapshot: Snapshot, reader: Reader) -> int:
    """How many commits `history` has to show, however few it is asked for."""
    hidden = hidden_from(db, snapshot.repository, reader)
    return histories.count(db, snapshot.repository.id, snapshot.revision.id, without=hidden)


def list_refs(db: Connection, repository: Repository, reader: Reader) -> list[Row]:
    """The branches and tags that this reader is shown."""
    hidden = hidden_from(db, repository, reader)
    return [row for row in repositories.list_refs(db, repository.id) if row["revision_id"] not in hidden]


def _resolve(db: Connection, repository: Repository, name: str) -> str | None:
    found = repositories.find_ref(db, repository.id, MAIN if name == HEAD else name)
    return found or repositories.find_named(db, repository.id, name)


def entry(db: Connection, snapshot: Snapshot, path: str) -> Entry:
    """One file of a snapshot.

    Raises:
        RequestDeniedError: 404 EntryNotFound.
    """
    found = repositories.find_entry(db, snapshot.repository.id, snapshot.revision.id, path)
    if found is None:
        raise no_entry(snapshot.repository.full_name, path)
    return found


def files(registry: Registry, snapshot: Snapshot) -> dict[str, bytes]:
    """All files of a snapshot in memory; each is small."""
    rows = repositories.entries(registry.database.connection(), snapshot.repository.id, snapshot.revision.id)
    return {row.path: registry.blobs.get(row.digest) for row in rows}


def add_ref(
    registry: Registry, account: Account | None, namespace: str, name: str, *, kind: str, ref: str, revision: str
) -> None:
    """A new branch or tag at a revision.

    Raises:
        RequestDeniedError: not allowed, a bad name, no such revision, or the ref exists (409).
    """
    check_ref(ref)
    with registry.database.writing() as db:
        repository = locate(db, account, namespace, name)
        member = auth.require(account, namespace, "refs")
        snapshot = at(db, repository, revision, account)
        present = repositories.list_refs(db, repository.id)
        if len(present) >= MAX_REFS:
            raise RequestDeniedError(
                422, "refs", f"{repository.full_name} has {MAX_REFS} branches and tags", "remove some of them"
            )
        if any(row["name"] == ref for row in present):
            raise RequestDeniedError(
                409, "exists", f"{repository.full_name} has a branch or tag {ref} already", "choose another name"
            )
        repositories.set_ref(db, repository.id, kind=kind, name=ref, revision_id=snapshot.revision.id)
    registry.audit_log.write("ref-added", user=member.user, repository=repository.full_name, kind=kind, ref=ref)


def delete_ref(registry: Registry, account: Account | None, namespace: str, name: str, *, kind: str, ref: str) -> None:
    """Remove a branch or tag; its commits stay readable by id.

    Raises:
        RequestDeniedError: not allowed, no such ref, or the branch `main`.
    """
    with registry.database.writing() as db:
        repository = locate(db, account, namespace, name)
        member = auth.require(account, namespace, "refs")
        if kind == "branch" and ref == MAIN:
            raise forbidden("the branch main cannot be deleted", "delete the repository, or push a new release")
        if not repositories.delete_ref(db, repository.id, kind=kind, name=ref):
            raise no_revision(repository.full_name, ref)
    registry.audit_log.write("ref-deleted", user=member.user, repository=repository.full_name, kind=kind, ref=ref)
