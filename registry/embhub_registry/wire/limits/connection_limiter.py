"""A listening socket that counts the connections of each address, and takes no more than so many of one.

Half a head holds a connection without ever being a request, so no middleware sees it. This works by what `socket`
documents alone: `accept` of the socket that the server is given, and `close` of those that it hands out.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from embhub_registry.people.rate_limits import site_of
from embhub_registry.storage.logs import log

MOST_OF_ONE = 64  # nginx, as shipped, has the same
TURNED_AWAY_AT_ONCE = 100  # then others have their turn
LOG_SECONDS = 60.0
TOO_MANY = b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\nRetry-After: 5\r\nConnection: close\r\n\r\n"
NO_ROOM = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 5\r\nConnection: close\r\n\r\n"
EXHAUSTED = frozenset([errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])


class LimitingSocket(socket.socket):
    """Accepts at most `most` connections of an address at a time; the next ones get a 429 and are closed.

    `taken` is how many are open in all. Where the process has no file descriptor left, who waits gets a 503: asyncio
    would try again at once, hundreds of times, and log each.

    Args:
        family: As `socket.socket` takes it, and so are the next two.
        kind: See above.
        protocol: See above.
        most: For one IPv4 address, or the first 64 bits of an IPv6 one.
        is_exempt: Whether an address may have any number: it is a proxy's, for instance.
    """

    def __init__(
        self, family: int, kind: int, protocol: int, *, most: int = MOST_OF_ONE,
        is_exempt: Callable[[str], bool] = lambda _: False,
    ) -> None:  # fmt: skip
        super().__init__(family, kind, protocol)
        self.open: Counter[str] = Counter()
        self.taken = 0
        self._most = most
        self._is_exempt = is_exempt
        self._logged = -LOG_SECONDS
        self._spare = _spare()

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection that may be taken.

        Raises:
            BlockingIOError: none waits, or others should have their turn.
        """
        for _ in range(TURNED_AWAY_AT_ONCE):
            try:
                accepted, address = super().accept()
            except OSError as error:
                if error.errno not in EXHAUSTED:
                    raise
                self._make_room(error)
                continue
            host = str(address[0])
            if self._is_exempt(host):
                return self._take(accepted), address
            site = site_of(host)
            if self.open[site] < self._most:
                self.open[site] += 1
                return self._take(accepted, site), address
            self._turn_away(accepted, TOO_MANY, "too many connections", client=host, most=self._most)
        raise BlockingIOError

    def _make_room(self, why: OSError) -> None:
        """Turn one caller away by the file descriptor that is kept back for it.

        Raises:
            BlockingIOError: nobody waits, or there is not even that one.
        """
        if self._spare is not None:
            os.close(self._spare)
        try:
            accepted, _ = super().accept()
            self._turn_away(accepted, NO_ROOM, "cannot accept", reason=why.strerror)
        except OSError as error:
            raise BlockingIOError from error
        finally:
            self._spare = _spare()

    def close(self) -> None:
        """Listen no more."""
        super().close()
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None

    def _take(self, accepted: socket.socket, site: str = "") -> socket.socket:
        """Count a connection; with `site` as one of that, too."""
        self.taken += 1
        return _Counted(accepted, partial(self._release, site))

    def _release(self, site: str) -> None:
        self.taken -= 1
        if not site:
            return
        self.open[site] -= 1
        if self.open[site] <= 0:
            del self.open[site]

    def _turn_away(self, accepted: socket.socket, answer: bytes, event: str, **facts: Any) -> None:
        accepted.setblocking(False)
        with contextlib.suppress(OSError):
            accepted.send(answer)
        accepted.close()
        if time.monotonic() - self._logged >= LOG_SECONDS:
            self._logged = time.monotonic()
            log("warning", event, **facts)


def _spare() -> int | None:
    """A file descriptor to give up when there is no other; None where there is none already."""
    try:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None


class _Counted(socket.socket):
    """A connection that says when it is closed."""

    def __init__(self, accepted: socket.socket, released: Callable[[], None]) -> None:
        super().__init__(fileno=accepted.detach())
        self._released: Callable[[], None] | None = released

    def close(self) -> None:
        """Close it; its place is free."""
        super().close()
        released, self._released = self._released, None
        if released is not None:
            released()
