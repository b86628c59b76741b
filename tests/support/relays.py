"""A relay between a server and what it needs, which can be cut: connections close, and new ones are refused."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

Target = str | tuple[str, int]  # the path of a Unix socket, or host and port


@dataclass
class Relay:
    """Passes bytes on, both ways, until it is cut.

    Attributes:
        target: Where to.
        port: Where it listens on loopback.
        is_cut: Whether connections are refused.
        fired: Set once `cut_at` has cut it.
    """

    target: Target
    port: int = 0
    is_cut: bool = False
    fired: threading.Event = field(default_factory=threading.Event)
    _open: set[socket.socket] = field(default_factory=set)
    _guard: threading.Lock = field(default_factory=threading.Lock)
    _markers: tuple[bytes, ...] = ()
    _passes_last: bool = False

    def cut(self) -> None:
        """Close every connection and refuse new ones."""
        with self._guard:
            self.is_cut = True
            for end in self._open:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """Let connections through again."""
        self.is_cut, self._markers = False, ()

    def cut_at(self, *markers: bytes, passes_last: bool) -> None:
        """Cut it when a client has sent these one after the other in one connection.

        Args:
            markers: Bytes of what is sent, in this order.
            passes_last: Whether what holds the last one still arrives; its answer does not.
        """
        self.fired.clear()
        self._passes_last, self._markers = passes_last, markers

    def serve(self, listening: socket.socket) -> None:
        """Accept until the socket is closed."""
        while True:
            try:
                near, _ = listening.accept()
            except OSError:
                return
            if self.is_cut:
                near.close()
                continue
            try:
                far = _connect(self.target)
            except OSError:
                near.close()
                continue
            with self._guard:
                self._open |= {near, far}
            for source, sink, sent in ((near, far, True), (far, near, False)):
                threading.Thread(target=self._pass_on, args=(source, sink, sent), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, is_sent: bool) -> None:
        met, waited = 0, self._markers
        try:
            while data := source.recv(1 << 16):
                if self._markers is not waited:
                    met, waited = 0, self._markers
                if is_sent and waited:
                    met += _count(data, waited[met:])
                if waited and met == len(waited):
                    if self._passes_last:
                        with self._guard:
                            self._open.discard(sink)  # it arrives, and the far side may work on it
                        sink.sendall(data)
                    self.cut()
                    self.fired.set()
                    return
                sink.sendall(data)
        except OSError:
            return
        finally:
            for end in (source, sink):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR if end is source else socket.SHUT_WR)
                with self._guard:
                    self._open.discard(end)


def _count(data: bytes, markers: Sequence[bytes]) -> int:
    """How many of the markers, from the first, are in these bytes in order."""
    place = 0
    for number, marker in enumerate(markers):
        place = data.find(marker, place)
        if place < 0:
            return number
    return len(markers)


def _connect(target: Target) -> socket.socket:
    if isinstance(target, tuple):
        return socket.create_connection(target, timeout=None)
    made = socket.socket(socket.AF_UNIX)
    made.connect(target)
    return made


@contextmanager
def relay(target: Target) -> Iterator[Relay]:
    """A relay, in threads of this process, until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        made = Relay(target, listening.getsockname()[1])
        threading.Thread(target=made.serve, args=(listening,), daemon=True).start()
        try:
            yield made
        finally:
            made.cut()
            with contextlib.suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
