"""What stands between a connection and uvicorn's protocol for it, by asyncio's documented interface alone.

It times heads and idle connections, which uvicorn does in part. It lets plain requests (`plain_requests`) be answered
at once where no answer of uvicorn is under way; all other bytes go to uvicorn as they came.

Two readers of one connection must agree where a request ends (request smuggling). So nothing is answered here once
anything came that is no plain head, or came before the answer to what was before it: the rest of such a connection is
uvicorn's.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass
from typing import Protocol, cast

from starlette.types import ASGIApp, Receive, Scope, Send

from embhub_registry.wire import plain_requests
from embhub_registry.wire.plain_requests import PlainRequest

Write = Callable[[list[bytes]], None]

HEAD_SECONDS = 15.0  # from its first byte to its last; nginx, as shipped, has the same
IDLE_SECONDS = 20.0  # between an answer and the next request


@dataclass(frozen=True, slots=True)
class Ends:
    """The two addresses of a connection, as sockets name them."""

    client: tuple[str, int]
    server: tuple[str, int]


class Answers(Protocol):
    """Answers some requests at once."""

    def answer(self, request: PlainRequest, ends: Ends, write: Write) -> bool:
        """Write the whole answer, or nothing: then it is False."""
        ...


class ConnectionProtocol(asyncio.Protocol):
    """One connection.

    Args:
        inner: uvicorn's protocol, which gets what is not answered here.
        answers: Answers some requests at once; None where uvicorn gets all.
        idle_seconds: Between two requests.
    """

    def __init__(self, inner: asyncio.Protocol, *, answers: Answers | None, idle_seconds: float) -> None:
        self._inner = inner
        self._answers = answers
        self._idle_seconds = idle_seconds
        self._context = copy_context()
        self._context.run(_connection.set, self)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._ends: Ends | None = None
        self._is_plain = True  # all that came were plain heads, each after the answer to the one before
        self._waits = False  # uvicorn has a request whose answer has not ended
        self._has_begun = False  # a head that is not whole yet
        self._due = self._loop.time() + idle_seconds  # when the connection is closed, unless something happens before
        self._looks_every = min(idle_seconds, HEAD_SECONDS)  # no event brings `_due` nearer than this
        self._timer = self._loop.call_later(self._looks_every, self._look)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note between whom it is."""
        self._transport = cast("asyncio.Transport", transport)  # of a stream; uvloop's is no subclass
        client, server = (transport.get_extra_info(name) for name in ("peername", "sockname"))
        if isinstance(client, tuple) and isinstance(server, tuple):
            self._ends = Ends((str(client[0]), int(client[1])), (str(server[0]), int(server[1])))
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Answer at once, or let uvicorn read."""
        request = plain_requests.read(data) if self._is_plain and not self._waits else None
        if request is not None and self._is_answered(request):
            self._due = self._loop.time() + self._idle_seconds
            return
        self._is_plain = request is not None
        self._waits = True
        if self._due < math.inf and not self._has_begun:
            self._has_begun = True
            self._due = self._loop.time() + HEAD_SECONDS
        self._context.run(self._inner.data_received, data)  # the task that answers it then knows this connection

    def _is_answered(self, request: PlainRequest) -> bool:
        """Whether its answer was written: not where the one before is still to be taken, for memory is not endless."""
        if self._answers is None or self._ends is None or self._transport.get_write_buffer_size():
            return False
        return self._answers.answer(request, self._ends, self._transport.writelines)

    def answering(self) -> None:
        """The application begins to answer: it has its own limits."""
        self._due, self._has_begun = math.inf, False

    def answered(self) -> None:
        """The application has handed on the end of its answer."""
        self._due, self._waits = self._loop.time() + self._idle_seconds, False

    def _look(self) -> None:
        now = self._loop.time()
        if now >= self._due:
            self._transport.close()
        else:
            self._timer = self._loop.call_at(min(self._due, now + self._looks_every), self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over.

        uvicorn stops its timer for idle connections where it is given no error; a timer keeps all of the connection.
        """
        del exc
        self._timer.cancel()
        self._inner.connection_lost(None)
        self._context = Context()  # it refers to this object, and this object to it

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

    Where it fails, uvicorn closes the connection: nothing is answered at once over that any more.
    """

    async def announcing(scope: Scope, receive: Receive, send: Send) -> None:
        connection = _connection.get() if scope["type"] == "http" else None
        if connection is None:
            await app(scope, receive, send)
            return
        connection.answering()
        await app(scope, receive, send)
        connection.answered()

    return announcing


_connection: ContextVar[ConnectionProtocol | None] = ContextVar("the connection of a request", default=None)
