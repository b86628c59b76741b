"""Links for reviewers without an account: one open proposal, read only, for days, ended by whoever may make one.

A link's code stands behind the `#` of its address, which no browser sends: no log and no Referer has it. It is entered
once in a form and held in a cookie for hours. It gives no account, so nothing else that is not public can be read.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from embhub.release.files import EMBEDDING
from embhub_registry.database import Connection
from embhub_registry.database.clock import now, stamp
from embhub_registry.database.people import reviewer_links as rows
from embhub_registry.database.people.accounts import Account
from embhub_registry.database.people.reviewer_links import ReviewerLink
from embhub_registry.database.releases import repositories
from embhub_registry.database.standing import quarantine, withdrawals
from embhub_registry.database.statements import proposals
from embhub_registry.database.statements.proposals import Proposal
from embhub_registry.http_errors import RequestDeniedError, forbidden, malformed
from embhub_registry.people import auth, secret_box
from embhub_registry.repositories import reviewing
from embhub_registry.repositories.reviewing import Seen
from embhub_registry.storage.folder import Registry

PAGE = "/login/reviewer"
PREFIX = "rev_"
LONGEST_PURPOSE = 60
DAYS = 14
MOST_DAYS = 30
MOST = 20  # of one proposal at a time
HOURS = 8  # how long a browser reads with a code that was entered
_ABOUT = "reviewer link entered"


@dataclass(frozen=True)
class Made:
    """A new link: its address is shown once."""

    link: ReviewerLink
    address: str


def make(registry: Registry, account: Account | None, proposal_id: str, *, purpose: str, days: int) -> Made:
    """A link to a proposal, by an approver of its namespace or who proposed it. The caller asked for a new proof.

    Raises:
        RequestDeniedError: as `reviewing.see`; 403 for a token that may only read; 409 where the proposal is decided or
            has too many links; 400 for a purpose or length that cannot be.
    """
    purpose = " ".join(purpose.split())
    if not purpose or not purpose.isprintable() or len(purpose) > LONGEST_PURPOSE or PREFIX in purpose:
        raise malformed(f"say whom the link is for, in at most {LONGEST_PURPOSE} characters", "name no patient")
    if not 1 <= days <= MOST_DAYS:
        raise malformed(f"a link lasts 1 to {MOST_DAYS} days", "make another one when it has ended")
    code, link_id = PREFIX + secrets.token_urlsafe(32), secrets.token_hex(6)
    expires = stamp(now() + timedelta(days=days))
    with registry.database.writing() as db:
        found = _changeable(db, account, proposal_id)
        assert account is not None  # noqa: S101  # `see` refuses nobody
        reviewing.require_open(found)
        rows.forget_ended(db, now=stamp())
        if len(rows.of_proposal(db, found.id, now=stamp())) >= MOST:
            raise RequestDeniedError(409, "links", f"this proposal has {MOST} links", "end some of them")
        rows.add(
            db, link_id=link_id, digest=auth.digest(code), proposal_id=found.id, user_id=account.user_id,
            purpose=purpose, now=stamp(), expires=expires,
        )  # fmt: skip
        (made,) = [one for one in rows.of_proposal(db, found.id, now=stamp()) if one.id == link_id]
    reviewing.note(
        registry, "reviewer-link-made", found, user=account.user, link=link_id, purpose=purpose, expires=expires
    )
    return Made(made, f"{registry.setting('url')}{PAGE}#{code}")


def links(db: Connection, account: Account | None, proposal_id: str) -> list[ReviewerLink]:
    """The links of a proposal, for everybody who may see it.

    Raises:
        RequestDeniedError: as `reviewing.see`.
    """
    return rows.of_proposal(db, reviewing.see(db, account, proposal_id).proposal.id, now=stamp())


def end(registry: Registry, account: Account | None, proposal_id: str, link_id: str) -> None:
    """End a link, whoever made it.

    Raises:
        RequestDeniedError: as `make`; 404 for no such link.
    """
    with registry.database.writing() as db:
        found = _changeable(db, account, proposal_id)
        assert account is not None  # noqa: S101  # `see` refuses nobody
        if not rows.remove(db, found.id, link_id):
            raise RequestDeniedError(404, "link", "there is no such link", "the proposal's page lists them")
    reviewing.note(registry, "reviewer-link-ended", found, user=account.user, link=link_id)


def open_by(registry: Registry, code: str) -> str:
    """Somebody enters a link's code: it is counted, and written into the audit log. Returns what the cookie holds.

    The cookie is sealed by the registry: whoever sets the bare code as one would read without a line in the log.

    Raises:
        RequestDeniedError: 403 where the link is unknown or over; nobody learns which.
    """
    link, seen = read_by(registry, code)
    with registry.database.writing() as db:
        rows.note_use(db, link.id, now=stamp())
    reviewing.note(registry, "reviewer-link-used", seen.proposal, link=link.id, made_by=link.maker)
    sealed = secret_box.seal(registry, f"{stamp()} {code}".encode(), about=_ABOUT)
    return base64.urlsafe_b64encode(sealed).decode()


def read_entered(registry: Registry, cookie: str) -> tuple[ReviewerLink, Seen]:
    """As `read_by`, by the cookie of a browser where the code was entered in the last hours.

    Raises:
        RequestDeniedError: 403, as `open_by`.
    """
    try:
        sealed = base64.urlsafe_b64decode(cookie[:500].encode())
        entered, _, code = secret_box.open_sealed(registry, sealed, about=_ABOUT).decode().partition(" ")
    except (ValueError, secret_box.SealedElsewhereError) as error:  # also what is no base64
        raise is_over() from error
    if not timedelta(seconds=-5) <= now() - datetime.fromisoformat(entered) <= timedelta(hours=HOURS):
        raise is_over()
    return read_by(registry, code)


def read_by(registry: Registry, code: str) -> tuple[ReviewerLink, Seen]:
    """The link of a code, and the proposal that it shows, without who approved it.

    Raises:
        RequestDeniedError: 403, as `open_by`.
    """
    db = registry.database.connection()
    link = _find(db, code)
    found = None if link is None else proposals.find(db, link.proposal_id)
    if link is None or found is None or not _holds(db, link, found):
        raise is_over()
    return link, replace(reviewing.look_at(db, found), approvals=())


def is_over() -> RequestDeniedError:
    """A code that opens nothing."""
    return RequestDeniedError(
        403, "link", "this link is unknown, or it has ended", "ask the person for another one who sent it to you"
    )


def _find(db: Connection, code: str) -> ReviewerLink | None:
    if not 20 <= len(code) <= 100:
        return None
    digest = auth.digest(code)
    found = rows.find(db, digest, now=stamp())
    return found if found and hmac.compare_digest(found.digest, digest) else None


def _holds(db: Connection, link: ReviewerLink, found: Proposal) -> bool:
    """Whether a link shows its proposal: it waits, its bytes are not suspected, and its maker could make it now."""
    maker, repository = auth.find_account(db, link.maker_id), repositories.find_by_id(db, found.repository_id)
    if found.state != "open" or maker is None or repository is None or repository.disabled:
        return False
    own = is_publisher(maker, found) and reviewing.author_may(db, found)
    if not (own or reviewing.is_reviewer(maker, found.namespace)):
        return False
    digest = next((entry.digest for entry in proposals.files(db, found.id) if entry.path == EMBEDDING), "")
    withdrawn = withdrawals.blocking(db, digest, namespace=found.namespace)
    return withdrawn is None and not quarantine.has_bytes(db, digest)


def is_publisher(account: Account, found: Proposal) -> bool:
    """Whether they proposed it for its own namespace: what an auditor of another adds shows nobody its files."""
    return found.author_id == account.user_id and found.caller == found.namespace


def _changeable(db: Connection, account: Account | None, proposal_id: str) -> Proposal:
    """The proposal, where the caller may make and end its links."""
    found = reviewing.see(db, account, proposal_id).proposal
    assert account is not None  # noqa: S101  # `see` refuses nobody
    if not is_publisher(account, found):
        reviewing.require_reviewer(account, found.namespace)
    elif not auth.may(account, account.namespace, "read-private") or account.scope == "read":
        raise forbidden(f"this token of {account.user} may only read", "use one with the scope publish", rule="scope")
    return found
