"""One POST to an address that a stranger chose: to the public internet alone, without redirects, in bounded time.

The host is resolved here, every address that it has is checked, and the connection goes to a checked one: nothing
resolves the name again between the check and the connection.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlsplit

from embhub_registry import __version__

SECONDS = 10.0  # to connect, and for each wait
SECONDS_IN_ALL = 20.0
MOST_BYTES = 16_384  # of the answer, which nobody reads
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_SPECIAL = tuple(map(ipaddress.ip_network, ("192.0.0.0/24", "64:ff9b:1::/48", "2001::/23", "3fff::/20", "5f00::/16")))
"""Of IANA's registries of special addresses, what older versions of Python count as public."""

Resolver = Callable[[str, int], Sequence[str]]


class SendingError(Exception):
    """It was not delivered. `gone`: the receiver wants no more (410)."""

    def __init__(self, reason: str, *, gone: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.gone = reason, gone


def resolve(host: str, port: int) -> list[str]:
    """Every address of a host."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]).partition("%")[0] for entry in found]


def is_public(address: str) -> bool:
    """Whether an address is of the public internet: not private, loopback, link-local or multicast, nor in disguise."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour
        if found in _NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if found.teredo is not None or found.is_site_local:
            return False
    if any(found in network for network in _SPECIAL):
        return False
    return found.is_global and not (found.is_multicast or found.is_reserved or found.is_unspecified)


def post(
    url: str, body: bytes, headers: Mapping[str, str], *, allowed: Sequence[str] = (), resolver: Resolver = resolve,
    context: ssl.SSLContext | None = None,
) -> int:  # fmt: skip
    """Send, and return the status, which is 200 to 299.

    Args:
        url: Where to; https, or http to an allowed host.
        body: What to send: JSON.
        headers: Beside those that every request has.
        allowed: Hosts whose addresses are not looked at, because the operator named them.
        resolver: Gives the addresses of a host.
        context: For TLS; the system's authorities by default.

    Returns:
        the status.

    Raises:
        SendingError: it was not delivered, with the reason in a line.
    """
    parts = urlsplit(url)
    host, secure = parts.hostname or "", parts.scheme == "https"
    if not secure and host not in allowed:
        raise SendingError("plain http goes to no host that the operator did not allow")
    port = parts.port or (443 if secure else 80)
    address = _address(host, port, allowed=allowed, resolver=resolver)
    connection = _Connection(host, port, address, context=(context or ssl.create_default_context()) if secure else None)
    timer = threading.Timer(SECONDS_IN_ALL, connection.cut)
    timer.daemon = True
    timer.start()
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        sent = {
            "Content-Type": "application/json",
            "User-Agent": f"embhub-registry/{__version__}",
            "Connection": "close",
        }
        connection.request("POST", path, body=body, headers={**sent, **headers})
        answer = connection.getresponse()
        answer.read(MOST_BYTES)
        status = answer.status
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise SendingError(_words(error)) from error
    finally:
        timer.cancel()
        connection.close()
    if not 200 <= status < 300:
        raise SendingError(f"it answered with status {status}", gone=status == 410)
    return status


def _address(host: str, port: int, *, allowed: Sequence[str], resolver: Resolver) -> str:
    try:
        found = list(resolver(host, port))
    except (OSError, UnicodeError) as error:
        raise SendingError("its host has no address") from error
    if not found:
        raise SendingError("its host has no address")
    if host not in allowed and not all(map(is_public, found)):
        raise SendingError("its host is inside a network, which the operator did not allow")
    return found[0]


class _Connection(http.client.HTTPConnection):
    """To an address that was checked, with the name of the host for TLS and for the header."""

    def __init__(self, host: str, port: int, address: str, *, context: ssl.SSLContext | None) -> None:
        super().__init__(host, port, timeout=SECONDS)
        self.default_port = 443 if context else 80
        self._address, self._context = address, context
        self._used: socket.socket | None = None

    def connect(self) -> None:
        """Connect to the address, not to what the name may mean by now."""
        self._used = self.sock = socket.create_connection((self._address, self.port), SECONDS)
        if self._context is not None:
            self._used = self.sock = self._context.wrap_socket(self.sock, server_hostname=self.host)

    def cut(self) -> None:
        """End it while it is in use: the reader gets an error."""
        if self._used is not None:
            with contextlib.suppress(OSError):
                self._used.shutdown(socket.SHUT_RDWR)


def _words(error: Exception) -> str:
    """What went wrong, without what the other side wrote."""
    match error:
        case TimeoutError():
            return "it did not answer in time"
        case ssl.SSLCertVerificationError():
            return "its certificate is not valid"
        case ConnectionRefusedError():
            return "it refused the connection"
        case _:
            return "the connection failed"
