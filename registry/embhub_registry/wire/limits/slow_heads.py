"""A connection has so long to send the head of a request; uvicorn times only the pause between two requests.

By asyncio's documented interface alone: uvicorn asks the loop to serve its protocol, and this loop puts one before it
that passes everything on and keeps the time. The bytes go to uvicorn as they came. The application finds its
connection by a context variable, so uvicorn's `reset_contextvars` has to be off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, cast

from starlette.types import ASGIApp, Message, Receive, Scope, Send

# From a connection's start, and of later heads from the first byte, to the last; nginx, as shipped, has the same.
HEAD_SECONDS = 15.0


class TimingLoop(asyncio.SelectorEventLoop):
    """The event loop of a server: it accepts by the socket that it is given, which counts (`connection_limiter`)."""

    async def create_server(self, protocol_factory: Callable[[], Any], *args: Any, **options: Any) -> Any:
        """As asyncio has it, with a `TimedConnection` before each protocol."""
        return await super().create_server(lambda: TimedConnection(protocol_factory()), *args, **options)


class TimedConnection(asyncio.Protocol):
    """One connection.

    Args:
        inner: uvicorn's protocol, which gets everything.
    """

    def __init__(self, inner: asyncio.Protocol) -> None:
        self._inner = inner
        self._transport: asyncio.Transport
        self._timer: asyncio.TimerHandle | None = None
        self._is_answering = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The first head is due."""
        self._transport = cast("asyncio.Transport", transport)
        self._begin_head()
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Of a head, or of a body; the task that answers it then knows this connection."""
        if self._timer is None and not self._is_answering:
            self._begin_head()
        _connection.set(self)
        self._inner.data_received(data)

    def _begin_head(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(HEAD_SECONDS, self._transport.close)

    def _end_head(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def answering(self) -> None:
        """The application begins to answer: it has its own limits."""
        self._is_answering = True
        self._end_head()

    def answered(self) -> None:
        """uvicorn has the end of the answer, and times the pause until the next head."""
        self._is_answering = False

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over. Told of a reset, uvicorn would keep its timer of the pause, and by that the connection."""
        del exc
        self._end_head()
        self._inner.connection_lost(None)

    def eof_received(self) -> bool | None:
        """As uvicorn has it."""
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        """As uvicorn has it."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """As uvicorn has it."""
        self._inner.resume_writing()


def announced(app: ASGIApp) -> ASGIApp:
    """The application, which tells each connection when it begins and ends to answer over it.

    Where it fails, uvicorn closes the connection.
    """

    async def announcing(scope: Scope, receive: Receive, send: Send) -> None:
        connection = _connection.get() if scope["type"] == "http" else None
        if connection is None:
            await app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                connection.answered()

        connection.answering()
        await app(scope, receive, sending)

    return announcing


_connection: ContextVar[TimedConnection | None] = ContextVar("the connection of a request", default=None)
