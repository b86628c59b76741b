"""A closed registry answers nobody without an access token, but for its health, its trust document and its
advisories, which name no repository there.

The setting `read.anonymous` decides, and is read at every request: a registry that was closed is closed at once. The
middleware stands before the response cache and before routing, so it holds for every address, also for one that is
added later or that does not exist.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from embhub_registry.database import Connection
from embhub_registry.http_errors import RequestDeniedError, token_needed
from embhub_registry.people.rate_limits import is_local
from embhub_registry.storage import configuration
from embhub_registry.wire.request_context import account_of, registry_of

ALWAYS_OPEN = frozenset(["/healthz", "/readyz", "/embhub/v1/trust", "/embhub/v1/advisories"])
METRICS = "/metrics"  # from the registry's own machine its own rule holds, which asks for no token there

Refuse = Callable[[Request, Exception], Awaitable[Response]]


class ClosedReadingMiddleware:
    """Answers 401 where the registry is closed and the caller has no good access token.

    Args:
        app: The application that is closed.
        refuse: Turns a refusal into an answer.
    """

    def __init__(self, app: ASGIApp, *, refuse: Refuse) -> None:
        self.app = app
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] != "http" or _is_exempt(scope):
            await self.app(scope, receive, send)
            return
        request = Request(scope, receive)
        if not is_closed(registry_of(request).database.connection()):
            await self.app(scope, receive, send)
            return
        try:
            if account_of(request) is None:
                raise token_needed("reading this registry")
        except RequestDeniedError as denied:
            await (await self._refuse(request, denied))(scope, receive, send)
            return
        await self.app(scope, receive, _private(send))


def is_closed(db: Connection) -> bool:
    """Whether `read.anonymous` is `no`."""
    return configuration.read(db, "read.anonymous") is False


def _is_exempt(scope: Scope) -> bool:
    return scope["path"] in ALWAYS_OPEN or (scope["path"] == METRICS and is_local(scope))


def _private(send: Send) -> Send:
    """Let no shared cache keep an answer: what it gave to others would need no token (RFC 9111 section 3.5)."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=list(message["headers"]))
            said = headers.get("cache-control", "")
            if "no-store" not in said:
                headers["cache-control"] = (
                    said.replace("public", "private") if "public" in said else _with_private(said)
                )
            headers.add_vary_header("Authorization")
            message = {**message, "headers": headers.raw}
        await send(message)

    return sending


def _with_private(said: str) -> str:
    return f"private, {said}" if said and "private" not in said else said or "private"
