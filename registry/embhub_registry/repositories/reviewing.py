"""Proposed releases: who sees them, who declines them, and which repositories need approval.

Nobody sees a proposal but the approvers of its namespace and the account that pushed it: to everybody else, an admin
included, it is absent. Its author has its files as long as the repository gives them its own: what is gated, hidden,
disabled or set aside since is no more to be had by a proposal. `admission.approving` publishes one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from embhub.release.files import EMBEDDING
from embhub_registry.database import Connection
from embhub_registry.database.clock import stamp
from embhub_registry.database.people import accounts, workloads
from embhub_registry.database.people.accounts import Account
from embhub_registry.database.releases import repositories
from embhub_registry.database.releases.repositories import Entry
from embhub_registry.database.standing import quarantine, tombstones
from embhub_registry.database.statements import proposals
from embhub_registry.database.statements.proposals import Approval, Proposal
from embhub_registry.http_errors import RequestDeniedError, forbidden, malformed, no_entry, no_repository, token_needed
from embhub_registry.people import auth, notifications
from embhub_registry.repositories import access, repos
from embhub_registry.repositories.yanking import check_reason
from embhub_registry.storage.folder import Registry

REVIEWER = "approver"
MOST_APPROVALS = 2


@dataclass(frozen=True)
class Seen:
    """A proposal as somebody sees it who may, and the approvals that it has.

    With its files while it is open, and the person may have them.
    """

    proposal: Proposal
    files: tuple[Entry, ...]
    approvals: tuple[Approval, ...]
    needed: int
    signed: bool = False  # whether approvals have to be signed by the approvers' own keys


def note(registry: Registry, event: str, about: Proposal, **facts: Any) -> None:
    """Every step of a review is written here, and here alone: into the audit log."""
    registry.audit_log.write(
        event, repository=about.full_name, proposal=about.id, version=about.version, digest=about.digest, **facts
    )


def note_replaced(registry: Registry, ended: list[Proposal], *, by: str) -> None:
    """Write into the audit log which proposals were ended because their branch moved on."""
    for one in ended:
        note(registry, "proposal-replaced", one, by=by)


def is_reviewer(account: Account, namespace: str) -> bool:
    """Whether the account has the role in this namespace. An admin has no part in it without the role."""
    return account.role_in(namespace) == REVIEWER


def require_reviewer(account: Account, namespace: str) -> None:
    """Let the namespace's approvers on, with a token that reaches.

    Raises:
        RequestDeniedError: 403.
    """
    if not is_reviewer(account, namespace):
        raise forbidden(
            f"{account.user} is no {REVIEWER} of {namespace!r}",
            f"its approvers decide: `embhub-registry user join USER --namespace {namespace} --role {REVIEWER}`",
        )
    auth.require_member(account, namespace, roles=(REVIEWER,), what="review releases")  # the token's scope


def see(db: Connection, account: Account | None, proposal_id: str) -> Seen:
    """One proposal.

    Raises:
        RequestDeniedError: 401 without an account; 404 where there is none that the caller may see.
    """
    if account is None:
        raise token_needed("looking at proposed releases")
    found = proposals.find(db, proposal_id)
    if found is None or not (found.author_id == account.user_id or is_reviewer(account, found.namespace)):
        raise unknown(proposal_id)
    return _as_given_to(db, account, look_at(db, found))


def look_at(db: Connection, found: Proposal) -> Seen:
    """A proposal with all that belongs to it."""
    given = tuple(one for one in proposals.approvals(db, found.id) if still_may(db, one, found.namespace))
    return Seen(found, tuple(proposals.files(db, found.id)), given, needed_for(db, found), must_sign(db, found))


def _as_given_to(db: Connection, account: Account, seen: Seen) -> Seen:
    """The same, without the files where this account may see the proposal and not what is in it."""
    return seen if not seen.files or _may_have_files(db, account, seen) else replace(seen, files=())


def _may_have_files(db: Connection, account: Account, seen: Seen) -> bool:
    """Approvers may; its author where the front door gives them the repository's, and they could still propose it."""
    found = seen.proposal
    if is_reviewer(account, found.namespace):
        return True
    author, repository = auth.find_account(db, account.user_id), repositories.find_by_id(db, found.repository_id)
    if author is None or repository is None or not _has_role(db, found, "publisher", "auditor"):
        return False
    if not auth.may_read(author, found.namespace, private=repository.private):
        return False
    digest = next((entry.digest for entry in seen.files if entry.path == EMBEDDING), "")
    if quarantine.has_bytes(db, digest) and not repos.sees_set_aside(repository, author):
        return False
    return access.may_have_files(db, repository, author)


def still_may(db: Connection, given: Approval, namespace: str) -> bool:
    """An approval counts while its approver has the role."""
    return _roles(db, given.approver).get(namespace) == REVIEWER


def author_may(db: Connection, found: Proposal) -> bool:
    """Whether who proposed it could propose it now: nothing of somebody who was shut out comes out by itself."""
    return _has_role(db, found, "publisher" if found.caller == found.namespace else "auditor")


def _has_role(db: Connection, found: Proposal, *wanted: str) -> bool:
    """Whether who proposed it has one of these roles now where they proposed it from."""
    if workloads.has_ended(db, found.author_id):
        return False
    roles = _roles(db, found.author)
    return "admin" in roles.values() or roles.get(found.caller) in wanted


def require_same_role(db: Connection, author: Account, caller: str) -> None:
    """Let on who has the role still by which admission took their push; asked within the transaction that stores it.

    Raises:
        RequestDeniedError: 403 where the account was shut out meanwhile, or lost the role.
    """
    here = None if workloads.has_ended(db, author.user_id) else auth.find_account(db, author.user_id)
    if here is None or not (here.admin if author.admin else here.role_in(caller) == author.role_in(caller)):
        raise forbidden(f"{author.user} may not publish here any more", "ask the registry's admin")


def is_admin(db: Connection, user: str) -> bool:
    """Whether this account is an admin of the registry now."""
    return "admin" in _roles(db, user).values()


def _roles(db: Connection, user: str) -> dict[str, str]:
    """An account's roles by namespace; none where it is disabled."""
    row = accounts.find_user(db, user)
    return {} if row is None or row["disabled"] is not None else accounts.roles_of(db, row["id"])


def needed_for(db: Connection, found: Proposal) -> int:
    """How many approvals it takes: a rule that was tightened since holds, one that was loosened does not."""
    return max(found.needed, proposals.required(db, found.namespace, found.name))


def must_sign(db: Connection, found: Proposal) -> bool:
    """Whether approvals of it have to be signed; no key signs an approval of a change that brings no release."""
    return found.version is not None and proposals.must_sign(db, found.namespace, found.name)


def queue(db: Connection, account: Account | None) -> list[Seen]:
    """All that the caller may see, open ones first: of the namespaces where they are an approver, and their own.

    Raises:
        RequestDeniedError: 401 without an account.
    """
    if account is None:
        raise token_needed("looking at proposed releases")
    found = {one.id: one for one in proposals.of_author(db, account.user_id)}
    for namespace in account.namespaces:
        if is_reviewer(account, namespace):
            found |= {one.id: one for one in proposals.of_namespace(db, namespace)}
    newest = sorted(found.values(), key=lambda one: one.created, reverse=True)
    return [_as_given_to(db, account, look_at(db, one)) for one in sorted(newest, key=lambda one: one.state != "open")]


def read_file(registry: Registry, account: Account | None, proposal_id: str, path: str) -> bytes:
    """A file of an open proposal.

    Raises:
        RequestDeniedError: as `see`, and 404 for no such file.
    """
    seen = see(registry.database.connection(), account, proposal_id)
    return read_entry(registry, seen, path)


def read_entry(registry: Registry, seen: Seen, path: str) -> bytes:
    """The bytes of one of its files. Raises RequestDeniedError (404)."""
    entry = next((entry for entry in seen.files if entry.path == path), None)
    if entry is None:
        raise no_entry(seen.proposal.full_name, path)
    return registry.blobs.get(entry.digest)


def decline(registry: Registry, account: Account | None, proposal_id: str, *, reason: str) -> Proposal:
    """Decline a proposal, or withdraw one's own; its files go.

    Raises:
        RequestDeniedError: 404, 403; 409 where it is decided already; 400 without a reason.
    """
    reason = check_reason(reason)
    with registry.database.writing() as db:
        found = see(db, account, proposal_id).proposal
        assert account is not None  # noqa: S101  # `see` refuses nobody
        own = found.author_id == account.user_id
        if not own:
            require_reviewer(account, found.namespace)
        elif not auth.may(account, account.namespace, "read-private") or account.scope == "read":
            raise forbidden(
                f"this token of {account.user} may only read", "use one with the scope publish", rule="scope"
            )
        require_open(found)
        end(db, found, state="declined", by=account.user, reason=reason)
    note(registry, "proposal-withdrawn" if own else "release-declined", found, user=account.user, reason=reason)
    return found


def end(
    db: Connection, found: Proposal, *, state: str, by: str, reason: str = "", revision_id: str | None = None
) -> None:
    """Close a proposal; bytes that nothing holds any more are removed. Called within a transaction."""
    unused = proposals.close(
        db, found.id, state=state, by=by, now=stamp(), reason=reason, revision_id=revision_id
    )  # fmt: skip
    tombstones.doom(db, unused, repository=found.full_name, due=stamp())
    if state != "replaced" and needed_for(db, found):
        tell(db, "review.decided", found, status=state, user_id=found.author_id)


def tell(db: Connection, kind: str, about: Proposal, *, user_id: int | None = None, **facts: Any) -> None:
    """Note an event about a proposal for those who may see it. Its digest and reason are in the queue alone."""
    notifications.emit(
        db, kind, namespace=about.namespace, repository=about.full_name, private=True, user_id=user_id,
        proposal=about.id, **facts,
    )  # fmt: skip


def require_open(found: Proposal) -> None:
    """Raises RequestDeniedError (409) where a proposal is decided."""
    if found.state != "open":
        raise RequestDeniedError(
            409,
            "decided",
            f"this proposal is {found.state}",
            "look at the queue: a newer push has a proposal of its own",
        )


def set_rule(
    registry: Registry, account: Account | None, namespace: str, name: str, approvals: int, *, signed: bool = False
) -> int:
    """How many approvals releases need, of a repository or (`name` empty) of all in a namespace. Returns what held.

    `account` None is the operator. With `signed`, approvals count that the approver's own key signed. Nobody who
    publishes or approves may change it, or it would bind nobody.

    Raises:
        RequestDeniedError: 403 for anybody but an admin; 404; 400 for another number than 0, 1 or 2, or for
            signatures of none.
    """
    if approvals not in range(MOST_APPROVALS + 1):
        raise malformed("releases need 0, 1 or 2 approvals", "two approvals are of two persons")
    if signed and not approvals:
        raise malformed("no approvals cannot be signed", "ask for 1 or 2 signed approvals")
    with registry.database.writing() as db:
        author = "operator"
        if account is not None:
            author = auth.require(account, namespace, "hide-released").user
        if not accounts.namespace_exists(db, namespace):
            raise malformed(f"there is no namespace {namespace[:60]!a}", "`show` lists them")
        if name and repos.find(db, namespace, name) is None:
            raise no_repository(f"{namespace}/{name}")
        before = proposals.set_rule(db, namespace, name, approvals, author=author, now=stamp(), signed=signed)
    full = f"{namespace}/{name}" if name else namespace
    registry.audit_log.write("review-rule", user=author, of=full, approvals=approvals, signed=signed, before=before)
    return before


def rules(registry: Registry, namespace: str | None = None) -> list[dict[str, Any]]:
    """The rules in force."""
    found = proposals.rules(registry.database.connection(), namespace)
    return [{**dict(row), "signed": bool(row["signed"])} for row in found]


def stale(db: Connection, repository_id: int, *, by: str) -> list[Proposal]:
    """End the open proposals that were built on a commit which is not the newest any more; within a transaction."""
    ended = []
    for one in proposals.open_of(db, repository_id):
        if repositories.find_ref(db, repository_id, one.branch) != one.parent:
            end(db, one, state="replaced", by=by, reason="another release was published meanwhile: push again")
            ended.append(one)
    return ended


def unknown(proposal_id: str) -> RequestDeniedError:
    """404, whether it is absent or another's."""
    return RequestDeniedError(404, "proposal", f"there is no proposal {proposal_id[:40]!a}", "look at the queue")
