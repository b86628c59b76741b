"""Changing the end of an embargo before it is over, by the account that proposed the release."""

from __future__ import annotations

from dataclasses import dataclass

from embhub_registry.database.clock import stamp
from embhub_registry.database.people.accounts import Account
from embhub_registry.database.statements import proposals
from embhub_registry.database.statements.proposals import Proposal
from embhub_registry.http_errors import RequestDeniedError, forbidden
from embhub_registry.people import auth
from embhub_registry.repositories import reviewing
from embhub_registry.repositories.commits import read_embargo
from embhub_registry.storage.folder import Registry

NOW = "now"


@dataclass(frozen=True)
class Changed:
    """An embargo that was moved: when it ended `before`, when it ends now, and how many approvals still count."""

    proposal: Proposal
    before: str
    not_before: str
    approvals: int


def change(registry: Registry, account: Account | None, proposal_id: str, *, until: object) -> Changed:
    """Let an embargo end at another time, earlier or later, or `now`.

    Where it ends earlier, approvals do not count any more: they were given for a release that nobody else would see
    before the later time.

    Raises:
        RequestDeniedError: 404, 401 as for `reviewing.see`; 403 for anybody but who proposed it, as long as they may
            publish; 409 where it is decided, or its embargo has ended or never was; 400 for no moment ahead.
    """
    ends = stamp() if until == NOW else read_embargo(until)
    with registry.database.writing() as db:
        seen = reviewing.see(db, account, proposal_id)
        found = seen.proposal
        assert account is not None  # noqa: S101  # `see` refuses nobody
        _check_may(found, account)
        reviewing.require_open(found)
        if not reviewing.author_may(db, found):
            raise forbidden(f"{found.author} may not publish here any more", "an approver may decline it")
        before = found.not_before
        if before is None or before <= stamp():
            raise RequestDeniedError(409, "embargo", "the embargo of this proposal has ended, or it has none",
                                     "withdraw the proposal, and push the release again")  # fmt: skip
        dropped = proposals.move_embargo(db, found.id, ends, keep_approvals=ends >= before)
        if dropped and reviewing.needed_for(db, found):
            reviewing.tell(db, "review.requested", found)
    reviewing.note(
        registry, "embargo-changed", found, user=account.user, before=before, not_before=ends,
        approvals_dropped=dropped,
    )  # fmt: skip
    return Changed(found, before, ends, len(seen.approvals) if ends >= before else 0)


def _check_may(found: Proposal, account: Account) -> None:
    if found.author_id != account.user_id:
        raise forbidden(f"{found.author} proposed this release, and may change its embargo", "ask them, or decline it")
    if not auth.may(account, account.namespace, "read-private") or account.scope == "read":
        raise forbidden(f"this token of {account.user} may only read", "use one with the scope publish", rule="scope")
