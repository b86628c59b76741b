"""Cookies of people in browsers: `__Host-` names, so that no other host can set them; never seen by a script.

A session's cookie counts for reading and for our own forms (`forms`). The Hub's wire and our own take access tokens
alone where anything changes: a page of a stranger can send neither.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from embhub_registry.database.people.sessions import Session
from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.people.login import sessions
from embhub_registry.people.login.sessions import NewSession
from embhub_registry.storage.folder import Registry
from embhub_registry.wire.host_header import host_of, is_loopback

SESSION = "__Host-embhub-session"
VISIT = "__Host-embhub-visit"  # of somebody who is about to log in: what their forms' tokens hang on
FLOW = "__Host-embhub-flow"  # of a login at a provider, which sends the browser back: the only one that is Lax
DEVICE = "__Host-embhub-device"  # of a browser that logged in as somebody before: whose code it tries
REVIEWER = "__Host-embhub-reviewer"  # of somebody who entered the code of a reviewer's link
FORMS = ("/login", "/account")  # our own forms are at these addresses and below


def is_form(path: str) -> bool:
    """Whether this is the address of one of our own forms."""
    return any(path == prefix or path.startswith(prefix + "/") for prefix in FORMS)


def read(scope: Scope, name: str) -> str | None:
    """The value of a cookie; None without one, and where it came twice, because one of the two is a stranger's."""
    found = []
    for header, value in scope["headers"]:
        if header == b"cookie":
            for part in value.decode("latin-1").split(";"):
                key, equals, text = part.strip().partition("=")
                if equals and key == name:
                    found.append(text.strip())
    return found[0] if len(found) == 1 else None


def session_of(scope: Scope) -> Session | None:
    """The session that the request may speak by: none beside an access token, none for what changes another's wire.

    It is looked up once a request: one read by an index.
    """
    state = scope.setdefault("state", {})
    if "session" not in state:
        state["session"] = None  # where the database fails, the page that says so names nobody
        state["session"] = _find(scope)
    found: Session | None = state["session"]
    return found


def has_session_cookie(scope: Scope) -> bool:
    """Whether a browser sent a session's cookie, good or not."""
    return any(name == b"cookie" and SESSION.encode() in value for name, value in scope["headers"])


def _find(scope: Scope) -> Session | None:
    if scope["method"] not in ("GET", "HEAD") and not is_form(scope["path"]):
        return None
    if any(name == b"authorization" for name, _ in scope["headers"]) or not has_session_cookie(scope):
        return None
    secret = read(scope, SESSION)
    registry: Registry = scope["app"].state.registry
    return sessions.find(registry.database.connection(), secret) if secret else None


def require_secure(request: Request) -> None:
    """Logging in needs https, but for plain http on this machine.

    Raises:
        RequestDeniedError: 403.
    """
    host = host_of(request.headers.get("host", "").encode("latin-1"))
    if request.url.scheme != "https" and not (host and is_loopback(host)):
        raise RequestDeniedError(
            403, "insecure", "nobody logs in here by plain http", "use the registry's https address"
        )


def set_session(response: Response, made: NewSession) -> None:
    """Give the browser its session; whatever it had for the login is over."""
    _set(response, SESSION, made.secret, seconds=made.seconds, lax=False)
    for name in (VISIT, FLOW):
        drop(response, name, lax=name == FLOW)


def set_device(response: Response, cookie: str) -> None:
    """Let the browser try codes of the account that it logged in as, whatever strangers try."""
    _set(response, DEVICE, cookie, seconds=400 * 86_400, lax=False)


def set_visit(response: Response, secret: str) -> None:
    """Give the browser what the token of its login form hangs on."""
    _set(response, VISIT, secret, seconds=3600, lax=False)


def set_reviewer(response: Response, cookie: str, *, seconds: int) -> None:
    """Let the browser show the one release of a reviewer's link for a while."""
    _set(response, REVIEWER, cookie, seconds=seconds, lax=False)


def set_flow(response: Response, secret: str) -> None:
    """Give the browser what it brings back from the provider."""
    _set(response, FLOW, secret, seconds=600, lax=True)


def drop(response: Response, name: str, *, lax: bool = False) -> None:
    """Take a cookie back."""
    _set(response, name, "", seconds=0, lax=lax)


def _set(response: Response, name: str, value: str, *, seconds: int, lax: bool) -> None:
    response.set_cookie(
        name, value, max_age=seconds, path="/", secure=True, httponly=True, samesite="lax" if lax else "strict"
    )
