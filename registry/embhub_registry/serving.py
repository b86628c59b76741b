"""Run the application until it is asked to stop."""

from __future__ import annotations

import json
import signal
import socket
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from embhub.errors import ConfigError
from embhub_registry import app, logs
from embhub_registry.folder import Registry

MAX_HEAD_BYTES = 32_000
HEAD_SECONDS = 15.0


class BoundedHttp(HttpToolsProtocol):
    """Closes a connection whose request head is too long, or too long in coming (slow loris)."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._head = 0
        self._deadline = self.loop.call_later(HEAD_SECONDS, transport.close)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head = 0
        self._deadline.cancel()
        self._deadline = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def on_headers_complete(self) -> None:
        self._deadline.cancel()
        self._head = -1
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        if self._head >= 0:
            self._head += min(len(data), MAX_HEAD_BYTES)
        super().data_received(data)
        if self._head > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The request head is too long.")

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline.cancel()
        super().connection_lost(exc)


class Server(uvicorn.Server):
    """Says where it listens once it answers."""

    def __init__(self, config: uvicorn.Config, *, url: str, as_json: bool) -> None:
        super().__init__(config)
        self.url = url
        self.as_json = as_json

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop once requests under way are finished, with exit code 0; a second Ctrl-C does not wait for them."""
        del frame
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, then one line on standard output: who waits for it knows that requests are answered."""
        await super().startup(sockets)
        if self.started:
            line = json.dumps({"url": self.url}) if self.as_json else f"serving at {self.url}"
            print(line, flush=True)  # noqa: T201


def serve(registry: Registry, *, host: str, port: int, as_json: bool = False) -> None:
    """Serve until SIGTERM or SIGINT; requests under way are finished.

    Raises:
        ConfigError: the address cannot be listened on.
    """
    listening = listen(host, port)
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{listening.getsockname()[1]}"
    logs.configure()
    config = uvicorn.Config(
        app.build(registry), http=BoundedHttp, ws="none", lifespan="on", log_config=None, access_log=False,
        server_header=False, timeout_keep_alive=20, timeout_graceful_shutdown=20, limit_concurrency=500, backlog=512,
    )  # fmt: skip
    logs.log("info", "start", url=url, folder=str(registry.folder))
    Server(config, url=url, as_json=as_json).run(sockets=[listening])
    logs.log("info", "stop", url=url)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one.

    Raises:
        ConfigError: no such address here, or it is taken.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host}:{port}: {error.strerror or error}", "choose another --port (0 takes a free one)"
        ) from error
    listening.setblocking(False)
    return listening
