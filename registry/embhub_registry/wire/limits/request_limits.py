"""What one request may take of the server: bytes of its head, and bytes and time of a body, whoever reads it.

Handlers that read a body set tighter limits and refuse in words (`bodies`). This middleware bounds the rest: a head
that is too long, and a body that nobody reads because the answer came before it. What a client may do before its head
is whole is not seen here: uvicorn bounds its bytes (`serving`), and `slow_heads` its time.
"""

from __future__ import annotations

import asyncio
import contextlib

from starlette.types import Message, Receive, Scope, Send

from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.wire.refusing_middleware import RefusingMiddleware

MAX_HEAD_BYTES = 32_000
MAX_HEADERS = 100
MAX_BODY_BYTES = 70_000_000  # more than `bodies.DRAIN`, past which a refused body is not read on
BODY_SECONDS = 150.0  # from the head to the end of the body; `bodies` answers earlier, in words
REST_SECONDS = 15.0  # for the rest of a body whose request was answered already
REST_BYTES = 64_000_000
PIECE_BYTES = 256_000  # of an answer, which go out before the next are handed on

CLOSE = (b"connection", b"close")


class RequestLimitsMiddleware(RefusingMiddleware):
    """Refuses long heads with 431; ends requests whose body is too long, too slow, or was not asked for."""

    def wrap(self, scope: Scope, receive: Receive, send: Send) -> tuple[Receive, Send]:
        """A bounded body, and an answer that ends the connection where the body was not read."""
        body = BoundedBody(receive, announced=_announces_body(scope))
        return body.receive, _Answer(body, send).send

    def admit(self, scope: Scope, send: Send) -> Send:
        """Raise what refuses the head."""
        _check_head(scope)
        return send


class BoundedBody:
    """A request's body, as ASGI messages, until it is longer or later than it may be: then the client counts as gone.

    Args:
        receive: The server's.
        announced: Whether the head says that a body follows.
    """

    def __init__(self, receive: Receive, *, announced: bool) -> None:
        self._receive = receive
        self._until = asyncio.get_running_loop().time() + BODY_SECONDS
        self._taken = 0
        self.finished = not announced

    async def receive(self) -> Message:
        """The next message."""
        if self.finished:
            return await self._receive()  # nothing, until the client leaves
        try:
            async with asyncio.timeout_at(self._until):
                message = await self._receive()
        except TimeoutError:
            return {"type": "http.disconnect"}
        self._taken += len(message.get("body", b""))
        self.finished = not message.get("more_body", False)
        if self._taken > MAX_BODY_BYTES:
            return {"type": "http.disconnect"}
        return message

    async def discard(self) -> None:
        """Read what is left, within `REST_BYTES` and `REST_SECONDS`, and forget it."""
        most = self._taken + REST_BYTES
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REST_SECONDS):
                while not self.finished and self._taken <= most:
                    await self.receive()


class _Answer:
    """Sends an answer. Where the body was not read to its end, the connection closes, and not before it was taken in.

    A client that is still sending when its connection closes is not sure to see the answer (RFC 9112 section 9.6).
    """

    def __init__(self, body: BoundedBody, send: Send) -> None:
        self._body = body
        self._send = send
        self._closes = False

    async def send(self, message: Message) -> None:
        """One message of the answer."""
        if message["type"] == "http.response.start" and not self._body.finished:
            self._closes = True
            message = {**message, "headers": [*message["headers"], CLOSE]}
        elif self._closes and message["type"] == "http.response.body" and not message.get("more_body"):
            await self._send_in_pieces({**message, "more_body": True})
            await self._body.discard()
            message = {"type": "http.response.body", "body": b""}
        await self._send_in_pieces(message)

    async def _send_in_pieces(self, message: Message) -> None:
        """A large body piece by piece: the server then copies one of them for who reads slowly, not all."""
        body = message.get("body", b"")
        start = 0
        while len(body) - start > PIECE_BYTES:
            piece = body[start : start + PIECE_BYTES]
            await self._send({"type": "http.response.body", "body": piece, "more_body": True})
            start += PIECE_BYTES
        await self._send({**message, "body": body[start:]} if start else message)


def _check_head(scope: Scope) -> None:
    headers = scope["headers"]
    size = len(scope.get("raw_path", b"")) + len(scope["query_string"]) + sum(len(n) + len(v) for n, v in headers)
    if len(headers) > MAX_HEADERS or size > MAX_HEAD_BYTES:
        raise RequestDeniedError(
            431, "request", f"a head has at most {MAX_HEADERS} headers and {MAX_HEAD_BYTES:,} bytes", "send fewer"
        )

    if {b"content-length", b"transfer-encoding"} <= {name for name, _ in headers}:  # RFC 9112 section 6.3
        raise RequestDeniedError(
            400, "request", "a head has a Content-Length or a Transfer-Encoding, not both", "leave one out"
        )


def _announces_body(scope: Scope) -> bool:
    sent = {name: value for name, value in scope["headers"] if name in (b"content-length", b"transfer-encoding")}
    return b"transfer-encoding" in sent or sent.get(b"content-length", b"0").strip() != b"0"
