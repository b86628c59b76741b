"""Run the application until it is asked to stop."""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address, ip_network
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.types import ASGIApp

from embhub.errors import ConfigError
from embhub.site.pins.transport import is_this_machine
from embhub_registry import app
from embhub_registry.database import DatabaseBusyError, DatabaseUnavailableError, StorageFullError
from embhub_registry.operation.observability import tracing
from embhub_registry.people.rate_limits import RateLimiter
from embhub_registry.storage import logs
from embhub_registry.storage.folder import Registry
from embhub_registry.wire.limits.connection_limiter import LimitingSocket
from embhub_registry.wire.limits.request_limits import MAX_HEAD_BYTES
from embhub_registry.wire.limits.slow_heads import TimingLoop, announced

MAX_CONNECTIONS = 500  # beyond them requests get a 503 (`wire.connection_count`), but for probes and metrics
LAST_CONNECTIONS = 64  # beyond those uvicorn answers in the registry's place, in a word
IDLE_SECONDS = 20  # between an answer and the next request
TURN_SECONDS = 0.0005  # of a thread that computes, before others have theirs; Python's own is ten times as long
ANSWER_SECONDS = 300.0  # for an answer that is not taken off the line: RFC 5482, tcp(7) TCP_USER_TIMEOUT


class Lifecycle:
    """Says where a server listens once it does; at a signal lets it drain, then ends it.

    Args:
        url: Where it listens.
        as_json: Whether to say so in JSON.
        drain: Seconds between the signal and the end of listening.
        on_drain: Called at the signal.
    """

    def __init__(self, *, url: str, as_json: bool, drain: float, on_drain: Callable[[], None]) -> None:
        self.server: uvicorn.Server | None = None
        self._url = url
        self._as_json = as_json
        self._drain = drain
        self._on_drain = on_drain
        self._listening = self._stopping = False

    async def notify(self) -> None:
        """uvicorn's `callback_notify`: its first call comes once requests are answered."""
        if self._listening:
            return
        self._listening = True
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._stop, number)
        line = json.dumps({"url": self._url}) if self._as_json else f"serving at {self._url}"
        print(line, flush=True)  # noqa: T201  # what a service says goes to stdout

    def _stop(self, number: int) -> None:
        """First `/readyz` says no, for `drain` seconds; then nothing new is accepted, what is under way is finished.

        A second signal ends the draining; a further Ctrl-C does not wait for requests.
        """
        assert self.server is not None  # noqa: S101  # it calls `notify`
        if self.server.should_exit:
            self.server.force_exit = number == signal.SIGINT
        elif self._stopping or not self._drain:
            self._end()
        else:
            asyncio.get_running_loop().call_later(self._drain, self._end)
        self._stopping = True
        self._on_drain()

    def _end(self) -> None:
        assert self.server is not None  # noqa: S101  # as above
        self.server.should_exit = True


def serve(
    registry: Registry, *, host: str, port: int, as_json: bool = False, drain: float = 0.0, grace: float = 20.0,
    accept_traceparent: bool = False,
) -> None:  # fmt: skip
    """Serve until SIGTERM or SIGINT; not ready for `drain` seconds, then requests under way get `grace` to finish.

    Raises:
        ConfigError: the address cannot be listened on, or traces are asked for and cannot be made.
    """
    application = app.build(registry)
    traces = tracing.start(application, accept_parent=accept_traceparent)
    listening = listen(host, port, is_exempt=_exempted(application))
    application.state.crowd.listening, application.state.crowd.most = listening, MAX_CONNECTIONS
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{listening.getsockname()[1]}"
    logs.configure()

    def not_ready() -> None:
        application.state.readiness.draining = True

    lifecycle = Lifecycle(url=url, as_json=as_json, drain=drain, on_drain=not_ready)
    lifecycle.server = uvicorn.Server(
        configure(application, callback_notify=lifecycle.notify, timeout_graceful_shutdown=math.ceil(grace))
    )
    logs.log("info", "start", url=url, folder=str(registry.folder))
    if not is_this_machine(host):
        logs.log(
            "warning", "no proxy", reason="other machines reach this server directly: put nginx or Caddy before it"
        )
    sys.setswitchinterval(TURN_SECONDS)
    try:
        run(lifecycle.server, listening)
    finally:
        tracing.stop(traces)
    logs.log("info", "stop", url=url)


def configure(application: ASGIApp, *, idle_seconds: int = IDLE_SECONDS, **options: Any) -> uvicorn.Config:
    """How uvicorn serves the registry within `run`, by its public options; `options` are further ones.

    Of its parsers h11 is the one that bounds a head that does not end, and the strictest.
    """
    return uvicorn.Config(
        announced(application), http="h11", h11_max_incomplete_event_size=MAX_HEAD_BYTES, ws="none",
        lifespan="on", log_config=None, access_log=False, server_header=False, backlog=512, reset_contextvars=False,
        forwarded_allow_ips=os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1,::1"),
        limit_concurrency=MAX_CONNECTIONS + LAST_CONNECTIONS, timeout_keep_alive=idle_seconds, **options,
    )  # fmt: skip


def run(server: uvicorn.Server, listening: socket.socket) -> None:
    """Serve until the server is asked to stop; uvicorn's own `run` would choose another loop."""
    with asyncio.Runner(loop_factory=TimingLoop) as runner:
        runner.run(server.serve(sockets=[listening]))


def _exempted(application: Starlette) -> Callable[[str], bool]:
    """Whose connections are not counted: the machine's own, the trusted proxies', and those of `rate.exempt`."""
    is_proxy = _trusted_proxies(os.environ.get("FORWARDED_ALLOW_IPS", ""))
    pace: RateLimiter = application.state.pace

    def is_exempt(host: str) -> bool:
        if is_this_machine(host) or is_proxy(host):
            return True
        try:
            return pace.is_exempt(host)
        except (DatabaseBusyError, DatabaseUnavailableError, StorageFullError):  # the request gets its answer
            return pace.was_exempt(host)

    return is_exempt


def _trusted_proxies(setting: str) -> Callable[[str], bool]:
    """Whose `X-Forwarded-For` uvicorn believes: addresses and networks, separated by commas, or a `*` for everybody."""
    if setting == "*":
        return lambda _: True
    words = {word.strip() for word in setting.split(",")} - {""}
    networks = []
    for word in words:
        with suppress(ValueError):
            networks.append(ip_network(word))

    def is_proxy(host: str) -> bool:
        try:
            return any(ip_address(host) in network for network in networks)
        except ValueError:
            return host in words

    return is_proxy


def listen(host: str, port: int, *, is_exempt: Callable[[str], bool] = lambda _: False) -> LimitingSocket:
    """A listening socket that limits the connections of each address; port 0 takes a free one.

    Raises:
        ConfigError: no such address here, or it is taken.
    """
    if not host:
        raise ConfigError("no address to listen on was named", "0.0.0.0 is every IPv4 address of this machine")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = LimitingSocket(family, kind, protocol, is_exempt=is_exempt)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; connections inherit it
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(ANSWER_SECONDS * 1000))
        listening.bind(address)
    except (OSError, UnicodeError) as error:  # what no host name can be ends in its encoding
        reason = getattr(error, "strerror", None) or "this is no host name"
        raise ConfigError(
            f"cannot listen on {host[:60]!a}, port {port}: {reason}",
            "choose another --port (0 takes a free one), or an address of this machine as --host",
        ) from error
    listening.setblocking(False)
    return listening
