"""Which names the registry answers to: those it was given, and this machine's own.

A web page of a stranger may point its own name to a registry's address and so read, in a visitor's browser, what an
intranet registry shows everybody (DNS rebinding). The `Host` header of such a request is the stranger's name.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.types import Scope, Send

from embhub_registry.database import DatabaseBusyError, DatabaseUnavailableError, StorageFullError
from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.storage import configuration
from embhub_registry.storage.folder import Registry
from embhub_registry.wire.refusing_middleware import RefusingMiddleware

REFRESH_SECONDS = 5.0
FOR_PROBES = {"/healthz", "/readyz"}  # asked by address, under any name or none; they say nothing worth stealing
_HOST = re.compile(r"(?:\[([0-9a-f:.]{2,45})\]|([a-z0-9._-]{1,255}))(?::[0-9]{0,5})?", re.IGNORECASE)


class AllowedHosts:
    """The names of one registry, its settings read again every few seconds."""

    def __init__(self, registry: Registry, clock: Callable[[], float] = time.monotonic) -> None:
        self._registry = registry
        self._clock = clock
        self._read = -math.inf
        self._names: frozenset[str] = frozenset()

    def __contains__(self, name: str) -> bool:
        """Whether the registry goes by this name, as `host_of` gives it."""
        if self._clock() - self._read >= REFRESH_SECONDS:
            self._refresh()
        return name in self._names or is_loopback(name)

    def _refresh(self) -> None:
        try:
            added = configuration.read(self._registry.database.connection(), "hosts.allowed")
            own = urlsplit(self._registry.setting("url")).hostname or ""
        except (DatabaseBusyError, DatabaseUnavailableError, StorageFullError):
            if not self._names:
                raise
            self._read = self._clock()  # the names of before: what needs no database, such as metrics, is answered
            return
        assert isinstance(added, tuple)  # noqa: S101  # the only kind that this setting has
        self._names, self._read = frozenset({own.lower().rstrip("."), *added}), self._clock()


class HostMiddleware(RefusingMiddleware):
    """Refuses with 400 what has not one `Host`, and with 421 what has one that is not the registry's."""

    def admit(self, scope: Scope, send: Send) -> Send:
        """Raise what refuses the request."""
        check(scope)
        return send


@lru_cache(maxsize=1_000)
def host_of(header: bytes) -> str | None:
    """The name in a `Host` header, in lower case and without its port; None where there is none."""
    match = _HOST.fullmatch(header.decode("latin-1"))
    if match is None or match[2]:
        return match[2].lower().rstrip(".") if match else None
    try:
        return str(ip_address(match[1]))
    except ValueError:
        return None


@lru_cache(maxsize=1_000)
def is_loopback(name: str) -> bool:
    """Whether it names the machine itself."""
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def check(scope: Scope) -> None:
    """Let the request pass.

    Raises:
        RequestDeniedError: 400 or 421.
    """
    if scope["path"] in FOR_PROBES:
        return
    sent = [value for name, value in scope["headers"] if name == b"host"]
    name = host_of(sent[0]) if len(sent) == 1 else None
    if not name:  # RFC 9112 section 3.2
        raise RequestDeniedError(400, "host", "a request has one Host header with a host's name", "send one")
    allowed: AllowedHosts = scope["app"].state.hosts
    if name in allowed or name == _connected_to(scope):
        return
    raise RequestDeniedError(
        421, "host", "this registry does not go by the name in the Host header",
        "use the registry's own address; its operator can add a name: `embhub-registry setting set hosts.allowed`",
    )  # fmt: skip


def _connected_to(scope: Scope) -> str | None:
    """The address of this machine that the connection came to: whoever names it is not sent here by a name."""
    server = scope.get("server")
    return str(server[0]).lower() if server else None
