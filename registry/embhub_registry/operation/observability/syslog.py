"""Lines of the audit log as syslog messages: RFC 5424, over UDP (RFC 5426), TCP (RFC 6587) or a unix socket.

The handler of the standard library writes the older format of RFC 3164, without year or time zone, and does not
connect again.
"""

from __future__ import annotations

import json
import os
import re
import select
import socket
import time
from urllib.parse import urlsplit

from embhub.errors import ConfigError, UsageError
from embhub_registry.storage import outgoing
from embhub_registry.storage.outgoing import SendingError

PROGRAM = "embhub-registry"
_FACILITY = 13  # log audit
_INFORMATIONAL, _WARNING = 6, 4
_WARNINGS = frozenset(["refused", "login-failed", "audit-log-cut", "audit-log-unsealed", "key-revoked"])
_LARGEST_DATAGRAM = 60_000  # bytes; more does not fit into one packet of UDP
_TRIES = 5


def message(line: str, *, host: str, process: int) -> bytes:
    """One line of the audit log as a message of RFC 5424; the line itself, JSON in ASCII, is its text."""
    try:
        fields = json.loads(line)
    except ValueError:
        fields = {}
    event, when = str(fields.get("event", "-")), str(fields.get("time", "-"))
    severity = _WARNING if event in _WARNINGS else _INFORMATIONAL
    head = [f"<{_FACILITY * 8 + severity}>1", when, _word(host, 255), PROGRAM, str(process), _word(event, 32), "-"]
    return f"{' '.join(head)} {line}".encode()


def _word(text: str, length: int) -> str:
    return re.sub(r"[^!-~]", "?", text)[:length] or "-"


class Sender:
    """Sends to one syslog server; connects at the first message and again where a connection breaks.

    Args:
        url: `udp://host:514`, `tcp://host:601` or `unix:///dev/log`.
        pause: Seconds before the second try; the double before each further one.

    Raises:
        UsageError: another address.
    """

    def __init__(self, url: str, *, pause: float = 1.0) -> None:
        hint = "give udp://HOST:514, tcp://HOST:601 or unix:///dev/log"
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise UsageError(f"not the address of a syslog server: {url!r}", hint) from error
        sound = bool(parts.path.strip("/")) if parts.scheme == "unix" else bool(parts.hostname)
        if parts.scheme not in ("udp", "tcp", "unix") or not sound or parts.query or parts.username:
            raise UsageError(f"not the address of a syslog server: {url!r}", hint)
        self._url, self._kind, self._path = url, parts.scheme, parts.path
        self._host, self._port = parts.hostname or "", port or {"udp": 514, "tcp": 601}.get(parts.scheme, 0)
        self._pause = pause
        self._socket: socket.socket | None = None
        self._name = socket.gethostname()

    def send(self, line: str) -> None:
        """Send one line.

        Raises:
            ConfigError: nobody takes it, after several tries.
        """
        data = message(line, host=self._name, process=os.getpid())
        if self._kind == "tcp":
            data = b"%d %b" % (len(data), data)  # octet counting: a message may hold any byte
        elif len(data) > _LARGEST_DATAGRAM:
            data = data[:_LARGEST_DATAGRAM]
        for attempt in range(_TRIES):
            try:
                if self._kind == "tcp" and self._hung_up():
                    self.close()
                if self._socket is None:
                    self._socket = self._connect()
                self._socket.sendall(data)
                return
            except (OSError, SendingError) as error:
                self.close()
                if attempt == _TRIES - 1:
                    said = getattr(error, "strerror", None) or error
                    raise ConfigError(
                        f"{self._url} takes no messages: {said}", "is the syslog server running?"
                    ) from error
                time.sleep(self._pause * 2**attempt)

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _hung_up(self) -> bool:
        """Whether the server closed the connection: what is sent after that is lost without an error."""
        if self._socket is None:
            return False
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(0)) and not self._socket.recv(4096)

    def _connect(self) -> socket.socket:
        if self._kind != "unix":
            kind = socket.SOCK_STREAM if self._kind == "tcp" else socket.SOCK_DGRAM
            return outgoing.connect(self._host, self._port, allowed=(self._host,), kind=kind)
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            made.settimeout(outgoing.SECONDS)
            made.connect(self._path)
        except BaseException:
            made.close()
            raise
        return made
