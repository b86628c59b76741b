"""The event loop of a server: it accepts by the socket that it is given, and puts a `ConnectionProtocol` before each.

uvloop comes with uvicorn where there is one for the platform. It would accept by itself, past `LimitingSocket`. So on
either loop this one accepts: by `accept` of the listening socket, and `connect_accepted_socket` of the loop.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from embhub_registry.storage.logs import log
from embhub_registry.wire.connection_protocol import IDLE_SECONDS, Answers, ConnectionProtocol

if TYPE_CHECKING:
    Loop = asyncio.SelectorEventLoop
else:
    try:
        from uvloop import Loop
    except ImportError:
        Loop = asyncio.SelectorEventLoop

REST_SECONDS = 1.0  # where the process has no file descriptor left
EXHAUSTED = frozenset([errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])


class ServerLoop(Loop):
    """uvloop's loop, or asyncio's without it.

    Args:
        answers: As a `ConnectionProtocol` takes it.
        idle_seconds: The same.
    """

    def __init__(self, *, answers: Answers | None = None, idle_seconds: float = IDLE_SECONDS) -> None:
        super().__init__()
        self._answers = answers
        self._idle_seconds = idle_seconds

    async def create_server(self, protocol_factory: Callable[[], Any], *args: Any, **options: Any) -> Any:
        """Serve a listening socket, the option `sock`; whatever else is asked for is asyncio's."""
        listening, backlog = options.get("sock"), options.get("backlog", 100)
        if listening is None or options.get("ssl") is not None:
            return await super().create_server(protocol_factory, *args, **options)

        def made() -> ConnectionProtocol:
            return ConnectionProtocol(protocol_factory(), answers=self._answers, idle_seconds=self._idle_seconds)

        listening.listen(backlog)
        return Accepting(self, listening, made, backlog)


class Accepting:
    """Accepts connections until it is closed: of asyncio's servers, what uvicorn uses.

    Args:
        loop: The running one.
        listening: A socket that listens and does not block.
        made: Makes the protocol of a connection.
        at_once: Connections that are accepted before others have their turn.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, listening: socket.socket, made: Callable[[], asyncio.Protocol],
        at_once: int,
    ) -> None:  # fmt: skip
        self.sockets = (listening,)
        self._loop = loop
        self._listening = listening
        self._made = made
        self._at_once = at_once
        self._is_open = True
        self._tasks: set[asyncio.Task[Any]] = set()
        loop.add_reader(listening.fileno(), self._accept)

    def _accept(self) -> None:
        for _ in range(self._at_once):
            try:
                accepted, _ = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in EXHAUSTED:
                    raise
                self._rest(error)
                return
            accepted.setblocking(False)
            task = self._loop.create_task(self._connect(accepted))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _connect(self, accepted: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._made, accepted)
        except OSError:  # its caller left meanwhile
            accepted.close()

    def _rest(self, error: OSError) -> None:
        log("error", "cannot accept", reason=error.strerror)
        self._loop.remove_reader(self._listening.fileno())
        self._loop.call_later(REST_SECONDS, self._resume)

    def _resume(self) -> None:
        if self._is_open:
            self._loop.add_reader(self._listening.fileno(), self._accept)

    def close(self) -> None:
        """Accept no more."""
        if self._is_open:
            self._is_open = False
            self._loop.remove_reader(self._listening.fileno())

    async def wait_closed(self) -> None:
        """Nothing is left to wait for: connections end by themselves."""

    def is_serving(self) -> bool:
        """Whether it accepts."""
        return self._is_open
