"""Who may read a repository's files: visibility, gates, access requests, and what an admin disabled.

A gated repository is seen by everybody, with its card and the names of its files; its files go to its namespace, to
admins, and to accounts that were let in. Facts of the wire: `huggingface_hub/hf_api.py` ("Manage access requests").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from embhub_registry.database import Connection
from embhub_registry.database.clock import stamp
from embhub_registry.database.people import accounts, terms
from embhub_registry.database.people.accounts import Account
from embhub_registry.database.people.terms import Terms
from embhub_registry.database.releases import access, repositories
from embhub_registry.database.releases.access import Access
from embhub_registry.database.releases.repositories import Repository
from embhub_registry.database.statements import proposals
from embhub_registry.http_errors import RequestDeniedError, disabled, forbidden, malformed, token_needed
from embhub_registry.people import auth, notifications
from embhub_registry.repositories import audit_standing, repos
from embhub_registry.storage.folder import Registry

LONGEST_REASON = 200


@dataclass(frozen=True)
class Settings:
    """What to change; None leaves a setting as it is. `gated` is "auto", "manual", or "" for no gate."""

    private: bool | None = None
    gated: str | None = None
    disabled: bool | None = None


class AboutBytes(Protocol):
    """A statement about an embedding's bytes: an attestation, or an evaluation."""

    @property
    def repository(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def closed(self) -> bool: ...


def may_read_statement(db: Connection, account: Account | None, row: AboutBytes) -> bool:
    """Whether somebody may read what was said of bytes: who may have the files of its repository may."""
    namespace, _, name = row.repository.partition("/")
    if not auth.may_read(account, namespace, private=row.closed):
        return False
    repository = repositories.find(db, namespace, name)
    if repository is None:
        return True  # deleted, and everybody's when it was
    if repos.hides_bytes(db, repository, row.digest, account):
        return False
    return may_have_files(db, repository, account)


def may_have_files(db: Connection, repository: Repository, account: Account | None) -> bool:
    """Whether `require_files` lets the caller on."""
    try:
        require_files(db, repository, account)
    except RequestDeniedError:
        return False
    return True


def require_files(db: Connection, repository: Repository, account: Account | None) -> None:
    """Let the caller read the repository's files; its name and card are everybody's who may see it at all.

    Raises:
        RequestDeniedError: 403 where an admin disabled it; GatedRepo, 401 without an account, 403 for one that was
        not let in.
    """
    if account is not None and account.admin:
        return
    if repository.disabled:
        raise disabled(repository.full_name)
    if not repository.gated or (account is not None and auth.may(account, repository.namespace, "read-private")):
        return
    if account is None:
        raise _gated(401, f"access to {repository.full_name} is restricted and you are not logged in",
                     "log in with a token, then ask for access")  # fmt: skip
    if access.is_accepted(db, repository.id, account.user_id):
        if due := terms.find_due(db, repository.id, account.user_id):
            raise _terms_due(repository, account, due)
        return
    asked = access.find(db, repository.id, user_id=account.user_id)
    if asked is not None and asked.status == "pending":
        raise _gated(403, f"the request of {account.user} for {repository.full_name} awaits an answer",
                     f"ask the publisher, {repository.namespace}")  # fmt: skip
    if asked is not None:
        reason = f": {asked.reason}" if asked.reason else ""
        raise _gated(403, f"{account.user} was refused access to {repository.full_name}{reason}",
                     f"ask the publisher, {repository.namespace}")  # fmt: skip
    raise _gated(403, f"access to {repository.full_name} is restricted and {account.user} was not let in",
                 f"ask for access: `embhub curate access request {repository.full_name}`,"
                 f" or POST /{repository.full_name}/ask-access")  # fmt: skip


def change(registry: Registry, account: Account | None, namespace: str, name: str, wanted: Settings) -> Repository:
    """Change a repository's settings, all or none; returns it as it is now.

    What was published is hidden or gated by an admin alone, as it is deleted by one alone; disabling is an admin's too.
    Where releases need approval, an admin alone shows to more people what was approved or proposed for fewer.

    Raises:
        RequestDeniedError: not a publisher of this namespace, or an admin is needed.
    """
    with registry.database.writing() as db:
        repository = repos.locate(db, account, namespace, name)
        member = auth.require(account, namespace, "settings")
        takes = _takes_away(repository, wanted)
        released = repositories.released_versions(db, repository.id)
        if takes and released and not auth.may(member, namespace, "hide-released"):
            raise forbidden(
                f"{repository.full_name} has published releases; a publisher may not {takes} them",
                "ask the registry's operator: other sites may rely on them",
            )
        if _opens(repository, wanted) and not auth.may(member, namespace, "hide-released"):
            _check_unreviewed(db, repository, released)
        if wanted.disabled is not None:
            auth.require(account, namespace, "hide-released")
        changed = repositories.set_access(
            db, repository.id, private=wanted.private, gated=wanted.gated, disabled=wanted.disabled
        )
        if changed.private != repository.private:  # what others audited counts for whom it may be shown
            audit_standing.refresh_some(db, registry.trust().keyring, repository=repository.full_name)
    registry.audit_log.write(
        "settings", user=member.user, repository=changed.full_name, private=changed.private,
        gated=changed.gated or None, disabled=changed.disabled or None,
        before={"private": repository.private, "gated": repository.gated or None, "disabled": repository.disabled},
    )  # fmt: skip
    return changed


def _takes_away(repository: Repository, wanted: Settings) -> str:
    """What the change does to those who read the files now, `hide` or `gate`; empty where they keep them."""
    if repository.private:
        return ""
    if wanted.private:
        return "hide"
    return "gate" if wanted.gated and not repository.gated else ""


def _opens(repository: Repository, wanted: Settings) -> bool:
    """Whether the change lets more people read the files."""
    shown = repository.private and wanted.private is False
    return shown or (bool(repository.gated) and wanted.gated is not None and wanted.gated != repository.gated
                     and wanted.gated != "manual")  # fmt: skip


def _check_unreviewed(db: Connection, repository: Repository, released: Sequence[str]) -> None:
    """Approvers approved, or look at, releases for those who may read the repository now."""
    if not (released or proposals.open_of(db, repository.id)):
        return
    if proposals.required(db, repository.namespace, repository.name):
        raise forbidden(
            f"releases of {repository.full_name} need approval; a publisher may not show them to more people",
            "ask the registry's admin",
        )


def ask(
    registry: Registry, account: Account | None, namespace: str, name: str, *, accepted: tuple[int, str] | None = None
) -> str:
    """Ask for a gated repository's files; returns the status: `accepted` at once where the gate is automatic.

    Where the repository has terms, the request accepts them: `accepted` is their version and digest. Asking again
    changes nothing, but accepts terms that are new since.

    Raises:
        RequestDeniedError: no token, no such repository, one that is not gated, terms that were not accepted, or 409
        where the accepted ones are not those in force.
    """
    if account is None:
        raise token_needed("asking for access")
    if account.only is not None:
        raise forbidden(f"this token is good for {account.only} alone", "ask with a token of a person", rule="scope")
    with registry.database.writing() as db:
        repository = _gated_repository(db, account, namespace, name)
        due = terms.find_due(db, repository.id, account.user_id)
        if due is not None:
            _check_accepted(repository, account, due, accepted)
            terms.accept(db, repository.id, account.user_id, due, now=stamp())
        found = access.find(db, repository.id, user_id=account.user_id)
        status = found.status if found else "accepted" if repository.gated == "auto" else "pending"
        if found is None:
            by = "auto" if status == "accepted" else None
            access.add(db, repository.id, account.user_id, status=status, now=stamp(), decided_by=by)
            if status == "pending":
                notifications.emit(
                    db, "access.requested", namespace=namespace, repository=repository.full_name,
                    private=repository.private, user=account.user,
                )  # fmt: skip
    if due is not None:
        registry.audit_log.write(
            "terms-accepted", user=account.user, repository=repository.full_name, version=due.version, digest=due.digest
        )
    if found is None:
        registry.audit_log.write("access-asked", user=account.user, repository=repository.full_name, status=status)
    return status


def grant(registry: Registry, account: Account | None, namespace: str, name: str, *, user: str) -> None:
    """Let an account in, whether it asked or not.

    Raises:
        RequestDeniedError: 400 where it is in already, 403 for who may not, 404 where there is no such account.
    """
    with registry.database.writing() as db:
        repository, keeper = _kept(db, account, namespace, name)
        wanted = _find_user(db, user)
        found = access.find(db, repository.id, user_id=wanted)
        if found is not None and found.status == "accepted":
            raise RequestDeniedError(
                400, "access", f"{user} has access to {repository.full_name} already", "no action needed"
            )
        if found is None:
            access.add(db, repository.id, wanted, status="accepted", now=stamp(), decided_by=keeper.user)
        else:
            access.decide(db, found.id, status="accepted", now=stamp(), decided_by=keeper.user, reason="")
        _tell(db, repository, wanted, user=user, status="accepted")
    _note(registry, keeper, repository, user, "accepted")


def answer(
    registry: Registry, account: Account | None, namespace: str, name: str, *,
    user: str | None = None, access_id: str | None = None, status: str, reason: str = "",
) -> None:  # fmt: skip
    """Accept or reject a request, or put it back among the pending; named by its account or its own id.

    Raises:
        RequestDeniedError: 400 for a status or reason that cannot be, 403 for who may not, 404 where there is no
        such account or
            request, or where it has this status already.
    """
    if status not in access.STATUSES or len(reason) > LONGEST_REASON:
        raise malformed(f"`status` is one of {', '.join(access.STATUSES)}, a reason at most {LONGEST_REASON} letters")
    with registry.database.writing() as db:
        repository, keeper = _kept(db, account, namespace, name)
        user_id = _find_user(db, user) if user is not None else None
        found = access.find(db, repository.id, user_id=user_id, access_id=access_id)
        if found is None:
            whose = user if user is not None else access_id
            raise _no_request(f"there is no request of {whose!a} for {repository.full_name}")
        if found.status == status:
            raise _no_request(f"the request of {found.user} for {repository.full_name} is {status} already")
        access.decide(db, found.id, status=status, now=stamp(), decided_by=keeper.user, reason=reason)
        if status != "pending":
            _tell(db, repository, _find_user(db, found.user), user=found.user, status=status)
    _note(registry, keeper, repository, found.user, status)


def list_requests(db: Connection, account: Account | None, namespace: str, name: str, status: str) -> list[Access]:
    """The requests with this status, oldest first, for who may answer them.

    Raises:
        RequestDeniedError: 400 where the repository is not gated, 403 for who may not.
    """
    repository, _ = _kept(db, account, namespace, name)
    return access.find_all(db, repository.id, status)


def _kept(db: Connection, account: Account | None, namespace: str, name: str) -> tuple[Repository, Account]:
    """A gated repository, and its keeper: who may answer requests."""
    repository = repos.locate(db, account, namespace, name)
    keeper = auth.require(account, namespace, "approve")
    return _gated_repository(db, account, namespace, name, found=repository), keeper


def _gated_repository(
    db: Connection, account: Account | None, namespace: str, name: str, *, found: Repository | None = None
) -> Repository:
    repository = found or repos.locate(db, account, namespace, name)
    if not repository.gated:
        raise RequestDeniedError(
            400, "access", f"{repository.full_name} is not gated", "its files are there for all who see it"
        )
    return repository


def _find_user(db: Connection, name: str) -> int:
    row = accounts.find_user(db, name)
    if row is None:
        raise RequestDeniedError(404, "user", f"there is no account {name[:64]!a} on this registry", "check the name")
    return int(row["id"])


def _tell(db: Connection, repository: Repository, user_id: int, *, user: str, status: str) -> None:
    """The person who asked, by mail, and the keepers' webhooks; the reason is for the person, on their page."""
    notifications.emit(
        db, "access.decided", namespace=repository.namespace, repository=repository.full_name,
        private=repository.private, user_id=user_id, user=user, status=status,
    )  # fmt: skip


def _note(registry: Registry, keeper: Account, repository: Repository, user: str, status: str) -> None:
    registry.audit_log.write(
        "access-answered", user=keeper.user, repository=repository.full_name, account=user, status=status
    )


def _check_accepted(repository: Repository, account: Account, due: Terms, accepted: tuple[int, str] | None) -> None:
    if accepted is None:
        raise _terms_due(repository, account, due)
    if accepted != (due.version, due.digest):
        raise RequestDeniedError(
            409, "terms", f"the terms of {repository.full_name} are version {due.version} now",
            "read them, then accept this version",
        )  # fmt: skip


def _terms_due(repository: Repository, account: Account, due: Terms) -> RequestDeniedError:
    return _gated(
        403, f"{account.user} has not accepted the terms of {repository.full_name}, version {due.version}",
        f"read and accept them: `embhub curate access request {repository.full_name} --accept-terms`",
    )  # fmt: skip


def _no_request(message: str) -> RequestDeniedError:
    return RequestDeniedError(404, "access", message, "list them: pending, accepted, rejected")


def _gated(status: int, message: str, hint: str) -> RequestDeniedError:
    return RequestDeniedError(status, "gated", message, hint, code="GatedRepo")
