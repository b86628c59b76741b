"""Access to gated repositories: asking for it, accepting their terms, and answering those who ask."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from embhub.client.account import accounts
from embhub.client.wire import errors as client_errors
from embhub.client.wire.hub import Hub
from embhub.errors import RegistryError, UsageError
from embhub.formats import names
from embhub.formats.plain_text import plain

STATUSES = ("pending", "accepted", "rejected")
_LONGEST_LINE = 2000


@dataclass(frozen=True)
class Terms:
    """The terms of a repository as its registry shows them; `sha256` is computed here, of the text as it came."""

    version: int
    text: str
    sha256: str
    written: str

    def shown(self) -> str:
        """The text, fit for a terminal."""
        return "\n".join(plain(line, longest=_LONGEST_LINE) for line in self.text.split("\n"))


@dataclass(frozen=True)
class AccessRequest:
    """Who asked for a repository's files, what was answered, and which terms were accepted when."""

    user: str
    namespace: str
    status: str
    requested: str
    terms_version: int | None = None
    terms_sha256: str = ""
    terms_accepted: str = ""


def request(
    repository: str, *, accept: Callable[[Terms], bool], registry: str | None = None, token: str | None = None
) -> tuple[str, Terms | None]:
    """Ask for a gated repository's files; returns the status and the terms that were accepted with it.

    `accept` is asked where the repository has terms. What is sent names their version and the digest of the text that
    `accept` was given, so that nobody accepts another text.

    Raises:
        UsageError: not the name of a repository, or the terms were not accepted.
        RegistryError: no such repository, it is not gated, or the registry cannot be reached.
    """
    hub = _connect(repository, registry, token)
    terms = _read_terms(hub, repository)
    if terms is not None and not accept(terms):
        raise UsageError(
            f"the terms of {repository}, version {terms.version}, were not accepted; nothing was sent",
            "read them, then pass --accept-terms",
        )
    send: dict[str, Any] = {}
    if terms is not None:
        send = {"terms": {"version": terms.version, "sha256": terms.sha256}}
    said = hub.call(f"/{repository}/ask-access", what=repository, method="POST", send=send)
    return _status(hub, said), terms


def read_terms(repository: str, *, registry: str | None = None) -> Terms | None:
    """The terms in force; None where there are none.

    Raises:
        UsageError, RegistryError: as `request`.
    """
    return _read_terms(_connect(repository, registry), repository)


def write_terms(repository: str, text: str, *, registry: str | None = None) -> Terms | None:
    """Replace the terms; an empty text ends them. Whoever accepted earlier ones is asked again.

    Raises:
        UsageError, RegistryError: as `request`; or the account may not.
    """
    hub = _connect(repository, registry)
    said = hub.call(f"/embhub/v1/terms/{repository}", what=repository, method="PUT", send={"text": text})
    return _terms(hub, said)


def list_requests(repository: str, *, status: str | None = None, registry: str | None = None) -> list[AccessRequest]:
    """Who asked, the oldest first within each status; all statuses where none is named.

    Raises:
        UsageError, RegistryError: as `request`; or the account may not.
    """
    hub = _connect(repository, registry)
    found = []
    for which in (status,) if status else STATUSES:
        rows = hub.call(f"/api/models/{repository}/user-access-request/{which}", what=repository)
        try:
            found += [_request(row) for row in rows]
        except (TypeError, KeyError, AttributeError) as error:
            raise client_errors.no_registry(hub.registry) from error
    return found


def answer(repository: str, user: str, *, let_in: bool, reason: str = "", registry: str | None = None) -> None:
    """Let an account in, whether it asked or not; or reject it, which also ends the access that it has.

    Raises:
        UsageError, RegistryError: as `request`; or there is no such account or request, or the account may not.
    """
    hub = _connect(repository, registry)
    if let_in:
        verb, send = "grant", {"user": user}
    else:
        verb, send = "handle", {"user": user, "status": "rejected", **({"rejectionReason": reason} if reason else {})}
    hub.call(f"/api/models/{repository}/user-access-request/{verb}", what=repository, method="POST", send=send)


def _connect(repository: str, registry: str | None, token: str | None = None) -> Hub:
    names.check_repository(repository)
    return accounts.connect(registry, token=token)


def _read_terms(hub: Hub, repository: str) -> Terms | None:
    try:
        said = hub.call(f"/embhub/v1/terms/{quote(repository)}", what=repository)
    except RegistryError as error:
        if getattr(error.__cause__, "status", None) == 404 and not isinstance(error, client_errors.NotFoundError):
            return None  # a host that knows no terms
        raise
    return _terms(hub, said)


def _terms(hub: Hub, said: Any) -> Terms | None:
    match said:
        case {"terms": None}:
            return None
        case {"terms": {"version": int() as version, "text": str() as text, "written": str() as written}}:
            return Terms(version, text, hashlib.sha256(text.encode()).hexdigest(), plain(written))
    raise client_errors.no_registry(hub.registry)


def _status(hub: Hub, said: Any) -> str:
    match said:
        case {"status": str() as status} if status in STATUSES:
            return status
    raise client_errors.no_registry(hub.registry)


def _request(row: Any) -> AccessRequest:
    who, terms = row["user"], row.get("terms") or {}
    version = terms.get("version")
    return AccessRequest(
        plain(who["user"]), plain(who.get("org") or ""), plain(row["status"]), plain(row["timestamp"]),
        version if isinstance(version, int) else None, plain(terms.get("sha256") or ""),
        plain(terms.get("accepted") or ""),
    )  # fmt: skip
