"""What every middleware that may refuse a request has in common: its refusals look like those of the application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from embhub_registry.http_errors import RequestDeniedError

Refuse = Callable[[Request, Exception], Awaitable[Response]]


class RefusingMiddleware:
    """Looks at HTTP requests before the application does, and answers those that `admit` refuses.

    Args:
        app: The application that is guarded.
        refuse: Turns a refusal into an answer.
    """

    def __init__(self, app: ASGIApp, *, refuse: Refuse) -> None:
        self.app = app
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        receive, send = self.wrap(scope, receive, send)
        try:
            send_admitted = self.admit(scope, send)
        except RequestDeniedError as denied:
            await (await self._refuse(Request(scope, receive), denied))(scope, receive, send)
            return
        await self.app(scope, receive, send_admitted)

    def admit(self, scope: Scope, send: Send) -> Send:
        """Let the request pass; its answer goes to what this returns.

        Raises:
            RequestDeniedError: the request is refused.
        """
        raise NotImplementedError

    def wrap(self, scope: Scope, receive: Receive, send: Send) -> tuple[Receive, Send]:  # noqa: ARG002  # for those that override it
        """What application and refusal read from and answer to."""
        return receive, send
