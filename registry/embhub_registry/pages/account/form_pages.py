"""What every page with a form has in common: its token and cookie, no copy kept anywhere, and where it goes on."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from embhub_registry.database.people.sessions import Session
from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.pages import rendering
from embhub_registry.people.login import sessions
from embhub_registry.wire import forms, session_cookies
from embhub_registry.wire.closed_reading import is_closed
from embhub_registry.wire.forms import ConfirmationNeededError
from embhub_registry.wire.request_context import registry_of

HEADERS = {"Cache-Control": "no-store", "Referrer-Policy": "same-origin", "Vary": "Accept, Cookie"}
NAMELESS = "Registry of image embeddings"


def answer(request: Request, template: str, *, status: int = 200, **context: Any) -> Response:
    """A page with forms. A closed registry does not say its name to somebody who is not logged in."""
    session_cookies.require_secure(request)
    token, visit = forms.token_for(request)
    session = session_cookies.session_of(request.scope)
    if session is None and is_closed(registry_of(request).database.connection()):
        context["registry_name"] = NAMELESS
    confirmed = bool(session and sessions.is_confirmed(session))
    known = {"form_token": token, "confirmed": confirmed, **context}
    found = rendering.page(request, template, known, status=status, headers=HEADERS)
    if visit is not None:
        session_cookies.set_visit(found, visit)
    return found


def go(path: str) -> Response:
    """After a form: the browser goes on to a page of ours."""
    return RedirectResponse(path, status_code=303, headers=HEADERS)


def person(request: Request) -> Session:
    """Who looks at a page that is for people who are logged in.

    Raises:
        LoginNeededError: nobody is.
    """
    found = session_cookies.session_of(request.scope)
    if found is None:
        query = f"?{request.url.query}" if request.url.query else ""
        raise LoginNeededError(request.url.path + query)
    return found


class LoginNeededError(ConfirmationNeededError):
    """Nobody is logged in; `back` is where they go on after."""


async def confirm_first(_request: Request, error: Exception) -> Response:
    """To the login page, and from there back."""
    assert isinstance(error, ConfirmationNeededError)  # noqa: S101  # what it is registered for
    return go(f"/login?{urlencode({'next': error.back})}")


def unknown(what: str) -> RequestDeniedError:
    """404 within these pages."""
    return RequestDeniedError(404, "address", f"there is no such {what}", "open your account page")
