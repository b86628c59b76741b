"""Run the application until it is asked to stop."""

from __future__ import annotations

import json
import math
import signal
import socket
import time
from collections.abc import Callable
from types import FrameType

import uvicorn

from embhub.errors import ConfigError
from embhub_registry import app
from embhub_registry.connections import BoundedHttp
from embhub_registry.storage import logs
from embhub_registry.storage.folder import Registry


class Server(uvicorn.Server):
    """Says where it listens once it answers."""

    def __init__(
        self, config: uvicorn.Config, *, url: str, as_json: bool, drain: float, on_drain: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self.url = url
        self.as_json = as_json
        self._drain = drain
        self._on_drain = on_drain
        self._stop_at: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """First `/readyz` says no, for `drain` seconds; then nothing new is accepted, what is under way is finished.

        A second signal ends the draining; a further Ctrl-C does not wait for requests.
        """
        del frame
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = self.should_exit or self._stop_at is not None or not self._drain
        self._stop_at = time.monotonic() + self._drain
        self._on_drain()

    async def on_tick(self, counter: int) -> bool:
        """As uvicorn's; the end of the draining is noticed here."""
        if self._stop_at is not None and time.monotonic() >= self._stop_at:
            self.should_exit = True
        return await super().on_tick(counter)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, then one line on standard output: who waits for it knows that requests are answered."""
        await super().startup(sockets)
        if self.started:
            line = json.dumps({"url": self.url}) if self.as_json else f"serving at {self.url}"
            print(line, flush=True)  # noqa: T201  # what a service says goes to stdout


def serve(
    registry: Registry, *, host: str, port: int, as_json: bool = False, drain: float = 0.0, grace: float = 20.0
) -> None:
    """Serve until SIGTERM or SIGINT; not ready for `drain` seconds, then requests under way get `grace` to finish.

    Raises:
        ConfigError: the address cannot be listened on.
    """
    listening = listen(host, port)
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{listening.getsockname()[1]}"
    logs.configure()
    application = app.build(registry)
    config = uvicorn.Config(
        application, http=BoundedHttp, ws="none", lifespan="on", log_config=None, access_log=False,
        server_header=False, timeout_keep_alive=20, timeout_graceful_shutdown=math.ceil(grace), limit_concurrency=500,
        backlog=512,
    )  # fmt: skip
    logs.log("info", "start", url=url, folder=str(registry.folder))

    def not_ready() -> None:
        application.state.readiness.draining = True

    Server(config, url=url, as_json=as_json, drain=drain, on_drain=not_ready).run(sockets=[listening])
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
