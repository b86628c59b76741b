"""The one way out of the server: to the public internet alone, without redirects, in bounded time.

What publishers type, and what the hosts that they name answer, decides where the server connects to: issuers, key sets,
webhooks. So a host is resolved here, every address that it has is checked, and the connection goes to a checked one:
nothing resolves the name again. Two requests at once go to one host. Hosts inside the network need the operator's word.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

from embhub_registry import __version__
from embhub_registry.database import Connection
from embhub_registry.http_errors import malformed
from embhub_registry.storage import configuration
from embhub_registry.storage.audit.batched_events import BatchedEvents

SECONDS = 5.0  # for everything: the look-up, the connection, the request and its answer
AT_ONCE = 2  # to one host
MOST_BYTES = 500_000  # of an answer
LONGEST_URL = 500
INSIDE = "its host is inside a network, which the operator did not allow"
SENT = BatchedEvents("request-sent")
"""For the audit log, which is written where the database may be used."""
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_SPECIAL = tuple(map(ipaddress.ip_network, ("192.0.0.0/24", "64:ff9b:1::/48", "2001::/23", "3fff::/20", "5f00::/16")))
"""Of IANA's registries of special addresses, what older versions of Python count as public."""

Resolver = Callable[[str, int], Sequence[str]]
Result = TypeVar("Result")


class SendingError(Exception):
    """It was not delivered. `gone`: the receiver wants no more."""

    def __init__(self, reason: str, *, gone: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.gone = reason, gone


@dataclass(frozen=True)
class Answer:
    """`body` is cut after the bytes that were asked for at most, and one. `date` is the header, or empty."""

    status: int
    content_type: str
    body: bytes
    date: str = ""


def allowed_hosts(db: Connection) -> tuple[str, ...]:
    """Hosts that the operator allowed although they are inside, or take plain http."""
    found = configuration.read(db, "outgoing.hosts")
    assert isinstance(found, tuple)  # noqa: S101  # the only kind that this setting has
    return found


def check_url(url: str, *, what: str, allowed: Sequence[str], query: bool = True) -> str:
    """An address that somebody typed, as it is; plain http only to hosts that the operator allowed.

    The name of a host is not looked up: that is done whenever it is asked.

    Args:
        url: What they typed.
        what: What it is of, as the refusal says it.
        allowed: Hosts that may be inside, or take plain http.
        query: Whether it may have one.

    Raises:
        RequestDeniedError: 400 where nothing may be sent there.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise malformed(f"this is no address of {what}") from error
    odd = not url.isascii() or not url.isprintable() or " " in url or "\\" in url or len(url) > LONGEST_URL
    if odd or not host or port == 0 or "@" in parts.netloc or "#" in url:
        raise malformed(f"the address of {what} has at most {LONGEST_URL} characters, no user, password or fragment")
    if parts.scheme != "https" and not (parts.scheme == "http" and host in allowed):
        raise malformed(f"the address of {what} begins with https://", "for example https://ci.example.org/embhub")
    if "?" in url and not query:
        raise malformed(f"the address of {what} has no query", "leave out what follows the question mark")
    if host not in allowed and _is_inside(host):
        raise malformed(f"the address of {what} cannot be used: {INSIDE}", "ask the operator (outgoing.hosts)")
    return url


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


def ask(
    purpose: str, url: str, *, method: str = "GET", body: bytes | None = None, headers: Mapping[str, str] | None = None,
    allowed: Sequence[str] = (), most_bytes: int = MOST_BYTES, resolver: Resolver = resolve,
    context: ssl.SSLContext | None = None,
) -> Answer:  # fmt: skip
    """One request over HTTP, and its answer.

    Args:
        purpose: What for, in a word, for the audit log.
        url: Where to; https, or http to an allowed host.
        method: The method of HTTP.
        body: What to send.
        headers: Beside those that every request has.
        allowed: Hosts whose addresses are not looked at, because the operator named them.
        most_bytes: Of the answer's body that are read; one more is returned where there are more.
        resolver: Gives the addresses of a host.
        context: For TLS; the system's authorities by default.

    Returns:
        the answer, whatever its status.

    Raises:
        SendingError: there is none, with the reason in a line.
    """
    try:
        parts = urlsplit(url)
        host, secure = parts.hostname or "", parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
    except ValueError as error:
        raise SendingError("it is no address") from error

    def exchange(connected: socket.socket) -> Answer:
        connection = http.client.HTTPConnection(host, port)
        connection.default_port = 443 if secure else 80
        trusted = (context or ssl.create_default_context()) if secure else None
        connection.sock = trusted.wrap_socket(connected, server_hostname=host) if trusted else connected
        with contextlib.closing(connection):
            own = {"User-Agent": f"embhub-registry/{__version__}", "Connection": "close"}
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request(method, path, body=body, headers={**own, **(headers or {})})
            with connection.getresponse() as answer:
                kind, date = answer.getheader("Content-Type", ""), answer.getheader("Date", "")
                return Answer(answer.status, kind, answer.read(most_bytes + 1), date)

    return connected(purpose, host, port, exchange, plain_http=not secure, allowed=allowed, resolver=resolver)


def connected(
    purpose: str, host: str, port: int, use: Callable[[socket.socket], Result], *, allowed: Sequence[str] = (),
    plain_http: bool = False, seconds: float = SECONDS, resolver: Resolver = resolve,
) -> Result:  # fmt: skip
    """Connect to a host and use the connection, within a deadline, however slowly it answers.

    Args:
        purpose: What for, in a word, for the audit log.
        host: A name or an address.
        port: Its port.
        use: Is given the connection, in a thread of its own; it is cut when the time is over.
        allowed: Hosts whose addresses are not looked at, because the operator named them.
        plain_http: Whether it is that, which only these hosts are asked by.
        seconds: For everything, and for a place among those that ask the host.
        resolver: Gives the addresses of a host.

    Returns:
        what `use` returned.

    Raises:
        SendingError: the host was not reached, or did not answer in time. What `use` raises of its own stays.
    """
    way, outcome = _Way(host, port, allowed, resolver, until=time.monotonic() + seconds), "fault"
    try:
        if plain_http and host not in allowed:
            raise SendingError("plain http goes to no host that the operator did not allow")
        result = way.use(use)
        outcome = "answered"
    except SendingError as error:
        outcome = error.reason
        raise
    except (OSError, http.client.HTTPException, ValueError) as error:
        outcome = _words(error)
        raise SendingError(outcome) from error
    finally:
        SENT.note(purpose=purpose, host=host, port=port, outcome=outcome)
    return result


def connect(
    host: str, port: int, *, allowed: Sequence[str] = (), seconds: float = SECONDS, resolver: Resolver = resolve,
    kind: socket.SocketKind = socket.SOCK_STREAM,
) -> socket.socket:  # fmt: skip
    """A socket that is connected to a checked address of a host.

    Args:
        host: A name or an address.
        port: Its port.
        allowed: Hosts whose addresses are not looked at, because the operator named them.
        seconds: To connect, and for each wait.
        resolver: Gives the addresses of a host.
        kind: Of TCP, or of UDP.

    Raises:
        SendingError: the host has no address, or one inside that the operator did not allow.
        OSError: nothing of it takes a connection.
    """
    until, failure = time.monotonic() + seconds, OSError("no address")
    for address in _checked(host, port, allowed=allowed, resolver=resolver):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        made = socket.socket(family, kind)
        made.settimeout(max(until - time.monotonic(), 0.001))
        try:
            made.connect((address, port))
        except OSError as error:
            failure = error
            made.close()
            continue
        made.settimeout(seconds)
        return made
    raise failure


class _Way:
    """One connection, in a thread of its own: not even the look-up of a name holds its caller for longer."""

    def __init__(self, host: str, port: int, allowed: Sequence[str], resolver: Resolver, *, until: float) -> None:
        self._host, self._port, self._allowed, self._resolver = host, port, allowed, resolver
        self._until, self._over = until, threading.Event()
        self._handle: socket.socket | None = None

    def use(self, use: Callable[[socket.socket], Result]) -> Result:
        """What `use` makes of the connection."""
        place = _place(self._host)
        if not place.acquire(timeout=self._left()):
            raise SendingError("others wait for its host")
        future: Future[Result] = Future()
        threading.Thread(target=self._run, args=(use, future, place), daemon=True, name="outgoing").start()
        try:
            return future.result(timeout=self._left())
        except TimeoutError:
            raise SendingError("it did not answer in time") from None
        finally:
            self._over.set()
            self._cut()

    def _run(self, use: Callable[[socket.socket], Result], future: Future[Result], place: threading.Semaphore) -> None:
        try:
            with connect(
                self._host, self._port, allowed=self._allowed, seconds=self._left(), resolver=self._resolver
            ) as made:
                self._handle = made.dup()  # TLS takes the first one over
                if self._over.is_set():
                    raise TimeoutError
                future.set_result(use(made))
        except BaseException as error:  # noqa: BLE001  # the caller gets it
            future.set_exception(error)
        finally:
            self._cut()
            place.release()

    def _cut(self) -> None:
        """End it: who still reads gets an error."""
        if self._handle is not None:
            with contextlib.suppress(OSError):
                self._handle.shutdown(socket.SHUT_RDWR)
            self._handle.close()

    def _left(self) -> float:
        return max(self._until - time.monotonic(), 0.001)


_places: WeakValueDictionary[str, threading.Semaphore] = WeakValueDictionary()
_guard = threading.Lock()


def _place(host: str) -> threading.Semaphore:
    """Held while the host is asked; forgotten when nobody holds it."""
    with _guard:
        found = _places.get(host)
        if found is None:
            found = _places[host] = threading.Semaphore(AT_ONCE)
        return found


def _checked(host: str, port: int, *, allowed: Sequence[str], resolver: Resolver) -> list[str]:
    try:
        found = list(resolver(host, port))
    except (OSError, UnicodeError) as error:
        raise SendingError("its host has no address") from error
    if not found:
        raise SendingError("its host has no address")
    if host not in allowed and not all(map(is_public, found)):
        raise SendingError(INSIDE)
    return found


def _is_inside(host: str) -> bool:
    """Whether it is inside by its own words. Other names are looked up when they are asked, not when they are typed."""
    host = host.partition("%")[0].rstrip(".")  # without a network interface, and without the dot of the root
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return host == "localhost" or host.endswith(".localhost")
    return not all(is_public(str(entry[4][0])) for entry in found)


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
