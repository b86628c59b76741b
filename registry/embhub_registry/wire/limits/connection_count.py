"""Refuses with 503 what comes over more connections than a server takes; probes and metrics still get their answers."""

from __future__ import annotations

from starlette.types import Scope, Send

from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.wire.limits.connection_limiter import LimitingSocket
from embhub_registry.wire.refusing_middleware import RefusingMiddleware

ALWAYS = {"/healthz", "/readyz", "/metrics"}  # a server that is busy is not a server that is broken


class ConnectionCount:
    """Whether a server has more connections than it takes.

    Attributes:
        listening: its socket, once it listens.
        most: connections that it takes.
    """

    def __init__(self) -> None:
        self.listening: LimitingSocket | None = None
        self.most = 0

    @property
    def is_too_large(self) -> bool:
        """Whether one more connection than `most` is open."""
        return self.listening is not None and self.listening.taken > self.most


class ConnectionCountMiddleware(RefusingMiddleware):
    """Refuses requests while the server is too crowded, and closes their connections."""

    def admit(self, scope: Scope, send: Send) -> Send:
        """Raise what refuses the request."""
        crowd: ConnectionCount = scope["app"].state.crowd
        if scope["path"] in ALWAYS or not crowd.is_too_large:
            return send
        denied = RequestDeniedError(503, "busy", "this server has too many connections", "try again in a moment")
        denied.headers = {"Retry-After": "5", "Connection": "close"}
        raise denied
