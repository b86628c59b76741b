"""A closed registry answers nobody without an access token, but for its health, its trust document, the list of its
addresses, its contact for security and its advisories, which name no repository there.

The setting `read.anonymous` decides, and is read at every request: a registry that was closed is closed at once. The
middleware stands before routing, so it holds for every address, also for one that is
added later or that does not exist.
"""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import Message, Scope, Send

from embhub_registry.database import Connection
from embhub_registry.http_errors import token_needed
from embhub_registry.people.rate_limits import is_local
from embhub_registry.storage import configuration
from embhub_registry.wire.refusing_middleware import RefusingMiddleware
from embhub_registry.wire.request_context import account_of, registry_of
from embhub_registry.wire.session_cookies import session_of

ALWAYS_OPEN = frozenset(
    [
        "/healthz", "/readyz", "/openapi.json", "/embhub/v1/trust", "/embhub/v1/join", "/embhub/v1/advisories",
        "/embhub/v1/seen", "/.well-known/security.txt",
        # logging in; these pages name the registry, and nothing in it
        "/login", "/login/code", "/login/passkey", "/login/passkey/answer", "/login/provider",
        "/login/provider/callback", "/login/device", "/login/reviewer",
        "/embhub/v1/device/code", "/embhub/v1/device/token", "/oauth/token",
        "/static/style.css", "/static/copy.js", "/static/passkey.js", "/static/mark.svg", "/static/reviewer.js",
    ]
)  # fmt: skip
# One-time links, and links for reviewers: whoever has none learns nothing here.
LINKS = ("/login/link/", "/login/reviewer/")
METRICS = "/metrics"  # from the registry's own machine its own rule holds, which asks for no token there


class ClosedReadingMiddleware(RefusingMiddleware):
    """Answers 401 where the registry is closed and the caller has no good access token."""

    def admit(self, scope: Scope, send: Send) -> Send:
        """Raise 401 where a token is needed; what is answered to a good one is for its caller alone."""
        if _is_exempt(scope):
            return send
        request = Request(scope)
        if not is_closed(registry_of(request).database.connection()):
            return _private(send) if session_of(scope) else send
        if account_of(request) is None:
            raise token_needed("reading this registry")
        return _private(send)


def is_closed(db: Connection) -> bool:
    """Whether `read.anonymous` is `no`."""
    return configuration.read(db, "read.anonymous") is False


def _is_exempt(scope: Scope) -> bool:
    path = scope["path"]
    return path in ALWAYS_OPEN or path.startswith(LINKS) or (path == METRICS and is_local(scope))


def _private(send: Send) -> Send:
    """Let no shared cache keep an answer: what it gave to others would need no token (RFC 9111 section 3.5).

    Caches know that of access tokens by themselves, of cookies they do not.
    """

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=list(message["headers"]))
            said = headers.get("cache-control", "")
            if "no-store" not in said:
                headers["cache-control"] = (
                    said.replace("public", "private") if "public" in said else _with_private(said)
                )
            headers.add_vary_header("Authorization")
            headers.add_vary_header("Cookie")
            message = {**message, "headers": headers.raw}
        await send(message)

    return sending


def _with_private(said: str) -> str:
    return f"private, {said}" if said and "private" not in said else said or "private"
