"""Setting a release aside while somebody looks at it, and showing it again. It is neither a yank nor a withdrawal.

A release is set aside by its bytes: every commit of the repository that holds the same embedding, whatever version it
has. `main` falls back to the newest release that is shown, and returns when the release is shown again, unless it moved
on meanwhile. Nothing is signed or published about it.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import asdict, dataclass
from typing import Any

from embhub.errors import VerificationError
from embhub.release import verification
from embhub.release.file_names import limit_of
from embhub.release.files import EMBEDDING, Release
from embhub.release.verification import Verified
from embhub_registry.admission.listing import Described, describe
from embhub_registry.admission.publication import ATTEMPTS, busy
from embhub_registry.admission.rules import Admitted
from embhub_registry.database import Connection
from embhub_registry.database.clock import now, stamp
from embhub_registry.database.people.accounts import Account
from embhub_registry.database.releases import histories, repositories
from embhub_registry.database.releases.repositories import Repository, Revision
from embhub_registry.database.standing import quarantine, withdrawals, yanks
from embhub_registry.database.standing.quarantine import Displaced
from embhub_registry.database.standing.withdrawals import Commit
from embhub_registry.http_errors import RequestDeniedError, no_repository
from embhub_registry.people import auth, notifications
from embhub_registry.repositories import audit_standing, repos
from embhub_registry.repositories import withdrawals as standing
from embhub_registry.repositories.repos import Snapshot
from embhub_registry.repositories.yanking import check_reason
from embhub_registry.storage.folder import Registry

_LONGEST = 100_000  # commits that are looked through for one to fall back to


@dataclass(frozen=True)
class _Release:
    """What is set aside or shown again: a version, and every commit with its bytes."""

    repository: Repository
    version: str
    digest: str
    commits: frozenset[str]


@dataclass(frozen=True)
class _Move:
    """Where `main` goes, and what lists say of it then. `origin` is where it stood before anything was set aside."""

    origin: str
    target: str
    described: Described
    verified: Verified | None
    files: Mapping[str, bytes]


def set_aside(
    registry: Registry, account: Account | None, namespace: str, name: str, *, reason: str,
    version: str | None = None, revision: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Show a release to nobody but its namespace's publishers and approvers, and admins. `account` None: the operator.

    Returns what is set aside in the repository, where `main` is now, and which other repositories hold these bytes.

    Raises:
        RequestDeniedError: not an admin; no such release; no reason; 409 where it is set aside already.
    """
    reason, author = check_reason(reason), account.user if account else yanks.OPERATOR
    for _ in range(ATTEMPTS):
        db = registry.database.connection()
        found = _find(db, account, namespace, name, version, revision)
        hidden, head = quarantine.commits(db, found.repository.id), _head(db, found.repository)
        if found.commits <= hidden:
            raise RequestDeniedError(409, "quarantined", f"{_words(found)} is set aside already", "it can be lifted")
        move = _plan(registry, db, found.repository, head, hidden | found.commits)
        with registry.database.writing() as writing:
            if not _is_as_seen(writing, found, hidden, head):
                continue
            quarantine.add(
                writing, found.repository.id, found.commits, digest=found.digest, reason=reason, author=author,
                now=stamp(),
            )  # fmt: skip
            _finish(registry, writing, found, move, status="set aside")
        _note(registry, "quarantined", found, author, move, reason=reason)
        return _answer(registry, found)
    raise busy(namespace, name)


def lift(
    registry: Registry, account: Account | None, namespace: str, name: str, *,
    version: str | None = None, revision: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Show a release again, to whom the repository is shown. Returns what `set_aside` does.

    Raises:
        RequestDeniedError: not an admin; no such release; 404 where it is not set aside.
    """
    author = account.user if account else yanks.OPERATOR
    for _ in range(ATTEMPTS):
        db = registry.database.connection()
        found = _find(db, account, namespace, name, version, revision)
        hidden, head = quarantine.commits(db, found.repository.id), _head(db, found.repository)
        if not found.commits & hidden:
            raise RequestDeniedError(404, "quarantined", f"{_words(found)} is not set aside", "look at its page")
        move = _plan(registry, db, found.repository, head, hidden - found.commits)
        with registry.database.writing() as writing:
            if not _is_as_seen(writing, found, hidden, head):
                continue
            quarantine.lift(writing, found.repository.id, found.digest)
            _finish(registry, writing, found, move, status="shown again")
        _note(registry, "quarantine-lifted", found, author, move)
        return _answer(registry, found)
    raise busy(namespace, name)


def list_all(registry: Registry) -> dict[str, Any]:
    """Everything that is set aside, by repository."""
    db = registry.database.connection()
    rows = []
    for identity in quarantine.repositories(db):
        repository = repositories.find_by_id(db, identity)
        if repository is not None:
            rows += [{"repository": repository.full_name, **asdict(row)} for row in quarantine.of(db, identity)]
    return {"quarantined": rows}


def _find(
    db: Connection, account: Account | None, namespace: str, name: str, version: str | None, revision: str | None
) -> _Release:
    """The release, for who may set it aside. By its commit, its version, or (neither) the newest that is shown."""
    if account is None:
        repository = repositories.find(db, namespace, name)
        if repository is None:
            raise no_repository(f"{namespace}/{name}")
    else:
        repository = repos.locate(db, account, namespace, name)
        auth.require(account, namespace, "quarantine")
    wanted = repos.at(db, repository, revision or version or repos.MAIN, repos.OPERATOR).revision.id
    held = withdrawals.commits(db, repository.id)
    chosen = next((commit for commit in held if commit.revision == wanted), None)
    if chosen is None:
        raise RequestDeniedError(404, "revision", f"{wanted[:12]} of {repository.full_name} holds no release",
                                 "name a version, or a commit that published one", code="RevisionNotFound")  # fmt: skip
    return _Release(repository, chosen.version, chosen.digest, _with_bytes(held, chosen.digest))


def _with_bytes(held: list[Commit], digest: str) -> frozenset[str]:
    return frozenset(commit.revision for commit in held if commit.digest == digest)


def _head(db: Connection, repository: Repository) -> str:
    head = repositories.find_ref(db, repository.id, repos.MAIN)
    assert head is not None  # noqa: S101  # every repository has this branch
    return head


def _plan(registry: Registry, db: Connection, repository: Repository, head: str, hidden: Set[str]) -> _Move | None:
    """Where `main` belongs while these commits are hidden; None where it is there. It may verify a release."""
    moved = quarantine.displaced(db, repository.id)
    origin = moved.before if moved and moved.after == head else head
    target = _shown(db, repository, origin, hidden)
    if target.id == head:
        return None
    files = repos.files(registry, Snapshot(repository, target, moving=False))
    verified = _verify(registry, repository, files) if EMBEDDING in files else None
    described = describe(repository.full_name, files, Admitted(target.release_version, verified))
    return _Move(origin, target.id, described, verified, files)


def _shown(db: Connection, repository: Repository, origin: str, hidden: Set[str]) -> Revision:
    """`origin` or, where that is hidden, the newest release before it that is neither hidden nor yanked."""
    line = histories.read(db, repository.id, origin, limit=_LONGEST)
    shown = [revision for revision in line if revision.id not in hidden]  # the first commit holds no release
    if line[0] is shown[0]:
        return shown[0]
    good = (one for one in shown if one.release_version and yanks.find(db, repository.id, one.id) is None)
    return next(good, shown[0])


def _verify(registry: Registry, repository: Repository, files: Mapping[str, bytes]) -> Verified | None:
    """What lists may say of a release; None where it does not verify any more: then they say nothing of it."""
    release = Release.from_files({path: data for path, data in files.items() if limit_of(path) is not None})
    try:
        return verification.verify(release, trust=registry.trust(), repository=repository.full_name, now=now())
    except VerificationError:
        return None


def _is_as_seen(db: Connection, found: _Release, hidden: Set[str], head: str) -> bool:
    """Whether nothing was pushed, moved or set aside since it was looked at."""
    identity = found.repository.id
    same = _with_bytes(withdrawals.commits(db, identity), found.digest) == found.commits
    stays = repositories.find_ref(db, identity, repos.MAIN) == head
    return same and stays and quarantine.commits(db, identity) == hidden


def _finish(registry: Registry, db: Connection, found: _Release, move: _Move | None, *, status: str) -> None:
    repository, keyring = found.repository, registry.trust().keyring
    if move is not None:
        repositories.set_ref(db, repository.id, kind="branch", name=repos.MAIN, revision_id=move.target)
        described = move.described
        repositories.describe(db, repository.id, described.summary, tags=described.tags, text=described.text)
        if move.verified is not None:
            audit_standing.record(db, move.verified, move.files, keyring)
        back = move.target == move.origin
        quarantine.note_main(db, repository.id, None if back else Displaced(move.origin, move.target))
        standing.refresh(db, repository.id)
    notifications.emit(
        db, "release.quarantined", namespace=repository.namespace, repository=repository.full_name,
        private=repository.private, version=found.version, status=status,
    )  # fmt: skip


def _note(registry: Registry, event: str, found: _Release, author: str, move: _Move | None, **facts: Any) -> None:
    registry.audit_log.write(
        event, user=author, repository=found.repository.full_name, version=found.version, digest=found.digest,
        commits=sorted(found.commits), main=move.target if move else None, **facts,
    )  # fmt: skip


def _answer(registry: Registry, found: _Release) -> dict[str, Any]:
    db, repository = registry.database.connection(), found.repository
    others = [f"{space}/{name}" for one, space, name in withdrawals.holders(db, found.digest) if one != repository.id]
    return {
        "repository": repository.full_name,
        "version": found.version,
        "main": repositories.find_ref(db, repository.id, repos.MAIN),
        "quarantined": [asdict(row) for row in quarantine.of(db, repository.id)],
        "also_held_by": others,
    }


def _words(found: _Release) -> str:
    return f"version {found.version} of {found.repository.full_name}"
