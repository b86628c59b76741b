"""What people and programs are told of: the kinds of event, who may know of one, and the settings of a person.

What is told says what happened to what, and where to look. It holds no reasons, which may have been given in
confidence; who reads the page learns them there, if they may.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from embhub.errors import UsageError
from embhub_registry.database import Connection
from embhub_registry.database.clock import stamp
from embhub_registry.database.logs import outbox
from embhub_registry.database.logs.outbox import Event
from embhub_registry.database.people import accounts
from embhub_registry.database.people.accounts import Account
from embhub_registry.database.releases import repositories
from embhub_registry.database.standing import quarantine
from embhub_registry.http_errors import malformed
from embhub_registry.people import auth
from embhub_registry.storage import configuration
from embhub_registry.storage.folder import Registry

_MAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,250}[A-Za-z0-9])?")


@dataclass(frozen=True)
class Kind:
    """A kind of event: in settings, as a mail's subject; which action somebody has to be allowed, or which role they
    have to have in the namespace."""

    meaning: str
    subject: str
    needs: str | None = None
    role: str | None = None


KINDS: Mapping[str, Kind] = {
    "release.published": Kind("A new version is published", "version {version} of {repository} is published"),
    "release.yanked": Kind("A release is yanked", "{what} of {repository} is yanked"),
    "release.withdrawn": Kind("A release is withdrawn", "version {version} of {repository} is withdrawn"),
    "release.quarantined": Kind(
        "A release is set aside, or shown again", "version {version} of {repository} is {status}", "see-quarantined"
    ),
    "access.requested": Kind("Somebody asks for access", "{user} asks for access to {repository}", "approve"),
    "access.decided": Kind("A request for access is answered", "access to {repository}: {status}", "approve"),
    "review.requested": Kind(
        "A release waits for approval", "a release of {repository} waits for approval", role="approver"
    ),
    "review.decided": Kind(
        "A proposed release is published or declined", "a proposed release of {repository}: {status}", role="approver"
    ),
    "key.changed": Kind("A signing key is added, removed or revoked", "the keys of {namespace} have changed"),
}
TEST = Kind("A test", "a test")


def emit(
    db: Connection, kind: str, *, namespace: str, repository: str = "", private: bool = False,
    user_id: int | None = None, **data: Any,
) -> None:  # fmt: skip
    """Note an event within the transaction in which it happens; `user_id` is the one person who gets a mail of it."""
    assert kind in KINDS  # noqa: S101  # kinds are written in this package alone
    about = {"namespace": namespace, **({"repository": repository} if repository else {}), **data}
    outbox.add_event(
        db, kind, namespace=namespace, repository=repository, private=private, data=about, now=stamp(), user_id=user_id
    )


def may_know(db: Connection, event: Event, account: Account, *, by_mail: bool) -> bool:
    """Whether an account may know of an event now: as it may see the repository and the commit, or answer its requests.

    The one person whom a mail is for may know what became of their own request or proposal. Proposals are known to
    approvers alone, not to admins either.
    """
    if event.kind in ("access.decided", "review.decided") and by_mail:
        return True
    known = KINDS.get(event.kind, TEST)
    if known.needs is not None and not auth.may(account, event.namespace, known.needs):
        return False
    if known.role is not None and account.role_in(event.namespace) != known.role:
        return False
    if not event.repository:
        return True
    name = event.repository.partition("/")[2]
    if quarantine.hides(db, event.namespace, name, str(event.data.get("commit"))) and not auth.may(
        account, event.namespace, "see-quarantined"
    ):
        return False
    visibility = repositories.find_visibility(db, event.namespace, name)
    private = event.private if visibility is None else (event.private or visibility)
    return auth.may_read(account, event.namespace, private=private)


def choose_mail(registry: Registry, account: Account, kinds: Sequence[str]) -> None:
    """Choose what a person gets mail of.

    Raises:
        RequestDeniedError: 400 for a kind that there is not.
    """
    with registry.database.writing() as db:
        outbox.set_mail_kinds(db, account.user_id, check_kinds(kinds))


def set_address(registry: Registry, user: str, address: str) -> dict[str, Any]:
    """Where an account gets mail, as its operator says; empty for nowhere.

    Raises:
        UsageError: no such account, or no address of one person.
    """
    address = address.strip()
    if address and (not _MAIL.fullmatch(address) or ".." in address):
        raise UsageError(f"{address[:80]!a} is no mail address", "for example anna@example.org")
    with registry.database.writing() as db:
        row = accounts.find_user(db, user)
        if row is None:
            raise UsageError(f"there is no user {user!r}", "`user list` shows them")
        outbox.set_mail(db, row["id"], address=address)
    registry.audit_log.write("mail-address-set", user=user, address_set=bool(address))
    return {"user": user, "mail": address or None}


def check_kinds(kinds: Sequence[str]) -> list[str]:
    """The kinds in the table's order, each once.

    Raises:
        RequestDeniedError: 400 for one that there is not.
    """
    if odd := set(kinds) - set(KINDS):
        raise malformed(f"there is no event {sorted(odd)[0][:40]!a}", f"there are: {', '.join(KINDS)}")
    return [kind for kind in KINDS if kind in kinds]


def subject_of(event: Event) -> str:
    """What happened, in one line."""
    known = KINDS.get(event.kind, TEST)
    told = {name: " ".join(str(value).split())[:120] for name, value in event.data.items()}
    return known.subject.format_map(_Told(told))


def mail_is_on(db: Connection) -> bool:
    """Whether the operator named a mail server."""
    return bool(configuration.word(db, "mail.server") and configuration.word(db, "mail.from"))


def webhooks_are_on(db: Connection) -> bool:
    """Whether the operator allowed webhooks."""
    return configuration.read(db, "webhooks") is True


class _Told(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return name
