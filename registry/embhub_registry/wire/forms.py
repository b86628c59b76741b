"""Forms of our own pages: who sent one, and whether it was this person, in a page of ours (CSRF).

Three checks, each enough against most attacks: the cookie is SameSite=Strict; `Origin` or `Sec-Fetch-Site` says that
our own page sent it; and the form carries the synchroniser token of its cookie.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace

from starlette.requests import Request

from embhub_registry.database.people.accounts import Account
from embhub_registry.database.people.sessions import Session
from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.people.access_tokens import offered_scopes
from embhub_registry.people.login import sessions
from embhub_registry.wire import session_cookies
from embhub_registry.wire.limits import bodies

TOKEN = "form_token"  # noqa: S105  # the name of a field


class ConfirmationNeededError(Exception):
    """The person has to prove again who they are; `back` is where they go on after."""

    def __init__(self, back: str) -> None:
        super().__init__(back)
        self.back = back


@dataclass(frozen=True)
class Submitted:
    """A form that passed every check. `session` is None where nobody is logged in."""

    fields: Mapping[str, str]
    session: Session | None

    def field(self, name: str) -> str:
        """One field's text, empty where it is missing."""
        return self.fields.get(name, "")


@dataclass(frozen=True)
class Person(Submitted):
    """The form of somebody who is logged in, and the account with all that its roles may do."""

    session: Session
    account: Account


def token_for(request: Request) -> tuple[str, str | None]:
    """The token for this request's forms, and the secret of a new cookie where the browser has none yet."""
    if session_cookies.session_of(request.scope):
        return sessions.form_token(session_cookies.read(request.scope, session_cookies.SESSION) or ""), None
    visit = session_cookies.read(request.scope, session_cookies.VISIT)
    if visit and 20 <= len(visit) <= 100:
        return sessions.form_token(visit), None
    made = secrets.token_urlsafe(32)
    return sessions.form_token(made), made


async def read(request: Request) -> Submitted:
    """A form of ours, whoever sent it.

    Raises:
        RequestDeniedError: 403 where another site sent it, or its token is not that of the browser's cookie.
    """
    session_cookies.require_secure(request)
    _check_origin(request)
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        raise _foreign("it is not a form of a page")
    fields = {name: values[0] for name, values in (await bodies.read_fields(request)).items()}
    session = session_cookies.session_of(request.scope)
    cookie = session_cookies.SESSION if session else session_cookies.VISIT
    secret = session_cookies.read(request.scope, cookie)
    sent = fields.pop(TOKEN, "")
    if not secret or not hmac.compare_digest(sessions.form_token(secret).encode(), sent.encode()):
        raise _foreign("the form is older than your login")
    return Submitted(fields, session)


async def read_person(request: Request, *, back: str | None = None) -> Person:
    """A form of somebody who is logged in; with `back`, of somebody who proved who they are within five minutes.

    Raises:
        RequestDeniedError: as `read`; 403 where nobody is logged in.
        ConfirmationNeededError: the proof is older.
    """
    sent = await read(request)
    if sent.session is None:
        raise RequestDeniedError(403, "login", "you are not logged in", "log in, then send the form again")
    if back is not None and not sessions.is_confirmed(sent.session):
        raise ConfirmationNeededError(back)
    return Person(sent.fields, sent.session, with_all_rights(sent.session.account))


def with_all_rights(account: Account) -> Account:
    """The account of a session with all that its roles may do. A cookie alone may read: a form is checked first."""
    return replace(account, scope=offered_scopes(account)[-1])


def _check_origin(request: Request) -> None:
    """Our own page sent it, as the browser says; a browser that says neither is too old to log in by."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    own = f"{request.url.scheme}://{request.headers.get('host', '')}"
    if (site is None and origin is None) or site not in (None, "same-origin") or (origin or own).lower() != own.lower():
        raise _foreign("another site sent the form, or the browser does not say which")


def _foreign(why: str) -> RequestDeniedError:
    return RequestDeniedError(403, "form", f"this form was not accepted: {why}", "open the page again and repeat it")
