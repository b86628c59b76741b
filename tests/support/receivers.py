"""A receiver of webhooks on loopback, over real HTTP, that answers as it is told."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Receiver:
    """`got` are headers and bodies of messages; `status` is what it answers with."""

    url: str
    status: int = 200
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    answer: bytes = b""

    def bodies(self) -> list[dict[str, Any]]:
        """What was sent, parsed."""
        return [json.loads(body) for _, body in self.got]

    def wait_for(self, count: int, *, seconds: float = 10.0) -> None:
        """Return once so many messages are here."""
        until = time.monotonic() + seconds
        while len(self.got) < count and time.monotonic() < until:
            time.sleep(0.02)
        assert len(self.got) >= count, self.got


@contextmanager
def receiver() -> Iterator[Receiver]:
    """It, while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            made.got.append(({k.lower(): v for k, v in self.headers.items()}, body))
            self.send_response(made.status)
            for name, value in made.headers.items():
                self.send_header(name, value)
            self.end_headers()
            for byte in made.answer:
                time.sleep(made.seconds)
                self.wfile.write(bytes([byte]))
                self.wfile.flush()

        do_GET = do_POST

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a sender that goes away is what is tested
    made = Receiver(f"http://127.0.0.1:{server.server_address[1]}/hook")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
