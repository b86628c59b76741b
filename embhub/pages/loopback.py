"""Pages for people at this machine: bound to the loopback address, opened by a key in the address.

The key keeps other users of the machine out, and so no browser is started with the address: every user sees a program's
arguments. The host name is checked against DNS rebinding, and a form counts only
with this server's cookie and from its own pages. No script runs.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from abc import ABC, abstractmethod
from base64 import b64encode
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from embhub.errors import EmbhubError, UsageError
from embhub.pages.rendering import render

ADDRESS = "127.0.0.1"
NOTHING = "'none'"
_STYLE = re.compile("<style>(.*?)</style>", re.DOTALL)


class LoopbackServer(ThreadingHTTPServer):
    """Serves pages to whoever opens its address, until it is shut down.

    Args:
        handler: what answers.
        port: 0 for a free one.

    Attributes:
        key: what its address ends with.
        url: the address to open, with its key.

    Raises:
        UsageError: the port is taken.
    """

    daemon_threads = True

    def __init__(self, handler: type[LoopbackHandler], *, port: int = 0) -> None:
        self.key = secrets.token_urlsafe(32)
        try:
            super().__init__((ADDRESS, port), handler)
        except OSError as error:
            raise UsageError(f"port {port} cannot be used: {error.strerror}", "choose another --port") from error
        self.url = f"http://{ADDRESS}:{self.server_port}/?key={self.key}"


class LoopbackHandler(BaseHTTPRequestHandler, ABC):
    """Answers one request; a kind of pages says what it shows, and what it does with a form.

    Attributes:
        package: the package with the templates of these pages: `closed.html.j2`, `problem.html.j2` and its own.
        access: name of the cookie that lets in.
        largest_form: bytes.
        most_fields: of a form.
    """

    package: ClassVar[str]
    access: ClassVar[str]
    largest_form: ClassVar[int] = 2_000
    most_fields: ClassVar[int] = 10
    server: LoopbackServer
    server_version, sys_version = "embhub", ""
    timeout = 30

    @abstractmethod
    def show_page(self, path: str) -> None:
        """Answer for this path with `show`, `send` or `show_problem`."""

    @abstractmethod
    def take_form(self, path: str, form: Mapping[str, str]) -> str | None:
        """Do what a form asks for; a cookie to set, as `name=value`, or None. The first page is shown next.

        Raises:
            EmbhubError, ValueError: it cannot be done, which the page of problems says.
        """

    def log_message(self, *_: Any) -> None:
        """Keep no record of who asked for what."""

    def do_GET(self) -> None:
        """A page, for who was let in; the address with its key lets in."""
        target = urlsplit(self.path)
        if not self._is_local():
            return
        given = parse_qs(target.query).get("key", [""])[0]
        if secrets.compare_digest(given.encode(), self.server.key.encode()):
            self._go_home(f"{self.access}={self.server.key}")
        elif not self._is_let_in():
            self.show("closed.html.j2", status=HTTPStatus.FORBIDDEN)
        elif target.path == "/favicon.ico":
            self.send(b"", "image/x-icon", HTTPStatus.NO_CONTENT)
        else:
            self.show_page(target.path)

    def do_POST(self) -> None:
        """A form."""
        if not self._is_local():
            return
        if not self._is_let_in() or not self._is_from_here():
            self.show("closed.html.j2", status=HTTPStatus.FORBIDDEN)
            return
        try:
            cookie = self.take_form(urlsplit(self.path).path, self._read_form())
        except (EmbhubError, ValueError) as error:
            said = f"{error.message}; {error.hint}" if isinstance(error, EmbhubError) else "answer each question"
            self.show_problem(said, HTTPStatus.BAD_REQUEST)
            return
        self._go_home(cookie)

    def show_problem(self, said: str, status: HTTPStatus) -> None:
        """The page of problems."""
        self.show("problem.html.j2", status=status, said=said)

    def show(self, template: str, *, status: HTTPStatus = HTTPStatus.OK, **facts: Any) -> None:
        """A page from a template of the package."""
        page = str(render(self.package, template, **facts))
        self.send(page.encode(), "text/html; charset=utf-8", status, styles=_STYLE.findall(page))

    def send(self, body: bytes, media: str, status: HTTPStatus, styles: Sequence[str] = ()) -> None:
        """An answer with this body."""
        self.send_response(status)
        self.send_header("Content-Type", media)
        self._end(len(body), styles)
        self.wfile.write(body)

    def cookie(self, name: str) -> str:
        """The value of a cookie; "" where there is none."""
        try:
            found = SimpleCookie(self.headers.get("Cookie", "")).get(name)
        except CookieError:
            return ""
        return found.value if found else ""

    def _is_local(self) -> bool:
        """Whether the page was asked for by an address of this machine; answers where it was not."""
        port = self.server.server_port
        if self.headers.get("Host") in (f"{ADDRESS}:{port}", f"localhost:{port}"):
            return True
        self.send(b"wrong host name\n", "text/plain; charset=utf-8", HTTPStatus.MISDIRECTED_REQUEST)
        return False

    def _is_let_in(self) -> bool:
        return secrets.compare_digest(self.cookie(self.access).encode(), self.server.key.encode())

    def _is_from_here(self) -> bool:
        origin = self.headers.get("Origin")
        return self.headers.get("Sec-Fetch-Site", "same-origin") == "same-origin" and origin in (
            None, f"http://{self.headers.get('Host')}",
        )  # fmt: skip

    def _read_form(self) -> dict[str, str]:
        length = int(self.headers.get("Content-Length") or 0)
        if not 0 < length <= self.largest_form:
            raise ValueError("no form")
        fields = parse_qs(self.rfile.read(length).decode("ascii"), max_num_fields=self.most_fields)
        return {name: values[0] for name, values in fields.items()}

    def _go_home(self, cookie: str | None) -> None:
        self.send_response(HTTPStatus.SEE_OTHER)
        self.send_header("Location", "/")
        if cookie is not None:
            self.send_header("Set-Cookie", f"{cookie}; Path=/; HttpOnly; SameSite=Strict")
        self._end(0)

    def _end(self, length: int, styles: Sequence[str] = ()) -> None:
        self.send_header("Content-Length", str(length))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "same-origin")  # `no-referrer` makes a form send Origin: null
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("Content-Security-Policy", _policy(styles))
        self.end_headers()


def _policy(styles: Sequence[str]) -> str:
    """No script at all, and these style sheets alone, by their digests (Content Security Policy Level 3, 2.3.1)."""
    digests = [f"'sha256-{b64encode(hashlib.sha256(style.encode()).digest()).decode()}'" for style in styles]
    return (
        f"default-src 'none'; img-src 'self'; style-src {' '.join(digests) or NOTHING}; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    )
