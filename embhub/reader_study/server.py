"""The pages of a study, for readers at this machine: bound to the loopback address, opened by a key in the address.

Nothing here names a case's kind before the study is over. The key keeps other users of the machine out; the host name
is checked against DNS rebinding, and a form counts only with its reader's cookie and from these pages.
"""

from __future__ import annotations

import hashlib
import random
import re
import secrets
from base64 import b64encode
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pydantic import ValidationError

from embhub.errors import EmbhubError, UsageError
from embhub.pages.rendering import render
from embhub.reader_study import ratings
from embhub.reader_study.ratings import ROLES, Rating, Reader
from embhub.reader_study.study import Study, case_file, new_name, read_study

ADDRESS = "127.0.0.1"
NOTHING = "'none'"
_LARGEST_FORM = 2_000
_STYLE = re.compile("<style>(.*?)</style>", re.DOTALL)
_PACKAGE = "embhub.reader_study"
_ACCESS, _READER = "embhub-study", "embhub-reader"


class StudyServer(ThreadingHTTPServer):
    """Serves one study's folder until it is shut down.

    Args:
        folder: the study.
        port: 0 for a free one.

    Attributes:
        url: the address to open, with its key.

    Raises:
        UsageError: there is no study, or the port is taken.
        ConfigError: the study is damaged.
    """

    daemon_threads = True

    def __init__(self, folder: Path, *, port: int = 0) -> None:
        self.folder, self.study = folder, read_study(folder)
        ratings.read(folder, self.study)
        self.key = secrets.token_urlsafe(32)
        try:
            super().__init__((ADDRESS, port), _Handler)
        except OSError as error:
            raise UsageError(f"port {port} cannot be used: {error.strerror}", "choose another --port") from error
        self.url = f"http://{ADDRESS}:{self.server_port}/?key={self.key}"


class _Handler(BaseHTTPRequestHandler):
    server: StudyServer
    server_version, sys_version = "embhub", ""
    timeout = 30

    def log_message(self, *_: Any) -> None:
        """Keep no record of who asked for what."""

    def do_GET(self) -> None:
        """The page of the reader's next case, or an image."""
        target = urlsplit(self.path)
        if not self._is_local():
            return
        given = parse_qs(target.query).get("key", [""])[0]
        if secrets.compare_digest(given.encode(), self.server.key.encode()):
            self._go_home(f"{_ACCESS}={self.server.key}")
        elif not self._is_let_in():
            self._show("closed.html.j2", status=HTTPStatus.FORBIDDEN)
        elif target.path == "/favicon.ico":
            self._send(b"", "image/x-icon", HTTPStatus.NO_CONTENT)
        elif target.path == "/":
            self._show_next()
        else:
            self._send_image(target.path)

    def do_POST(self) -> None:
        """Begin as a reader, or rate a case."""
        if not self._is_local():
            return
        if not self._is_let_in() or not self._is_from_here():
            self._show("closed.html.j2", status=HTTPStatus.FORBIDDEN)
            return
        try:
            cookie = self._store(urlsplit(self.path).path, self._read_form())
        except (EmbhubError, ValidationError, ValueError) as error:
            said = f"{error.message}; {error.hint}" if isinstance(error, EmbhubError) else "answer each question"
            self._show("problem.html.j2", status=HTTPStatus.BAD_REQUEST, said=said)
            return
        self._go_home(cookie)

    def _store(self, path: str, form: Mapping[str, str]) -> str | None:
        study, folder = self.server.study, self.server.folder
        if path == "/begin":
            reader = new_name()
            ratings.add(folder, study, Reader.model_validate({"reader": reader, "role": form.get("role")}))
            return f"{_READER}={reader}"
        if path != "/rate":
            raise UsageError("there is no such form", "open the study's address again")
        said = {"reader": self._cookie(_READER), "case": form.get("case"), "origin": int(form.get("origin", ""))}
        ratings.add(folder, study, Rating.model_validate(said | {"finding": form.get("finding")}))
        return None

    def _show_next(self) -> None:
        study, reader = self.server.study, self._cookie(_READER)
        answers = ratings.read(self.server.folder, study)
        if reader not in answers.roles:
            self._show("begin.html.j2", roles=ROLES, images=len(study.cases), finding=study.finding)
            return
        open_cases = [name for name in order(study, reader) if name not in answers.ratings[reader]]
        if not open_cases:
            self._show("done.html.j2", images=len(study.cases))
            return
        number = len(study.cases) - len(open_cases) + 1
        self._show(
            "case.html.j2", case=open_cases[0], number=number, images=len(study.cases), finding=study.finding
        )  # fmt: skip

    def _send_image(self, path: str) -> None:
        names = {f"/cases/{case.name}.png": case.name for case in self.server.study.cases}
        if path not in names:
            self._show("problem.html.j2", status=HTTPStatus.NOT_FOUND, said="there is nothing at this address")
            return
        try:
            data = case_file(self.server.folder, names[path]).read_bytes()
        except OSError:
            self._show("problem.html.j2", status=HTTPStatus.NOT_FOUND, said="the image is gone")
            return
        self._send(data, "image/png", HTTPStatus.OK)

    def _is_local(self) -> bool:
        """Whether the page was asked for by an address of this machine; answers where it was not."""
        port = self.server.server_port
        if self.headers.get("Host") in (f"{ADDRESS}:{port}", f"localhost:{port}"):
            return True
        self._send(b"wrong host name\n", "text/plain; charset=utf-8", HTTPStatus.MISDIRECTED_REQUEST)
        return False

    def _is_let_in(self) -> bool:
        return secrets.compare_digest(self._cookie(_ACCESS).encode(), self.server.key.encode())

    def _is_from_here(self) -> bool:
        origin = self.headers.get("Origin")
        return self.headers.get("Sec-Fetch-Site", "same-origin") == "same-origin" and origin in (
            None, f"http://{self.headers.get('Host')}",
        )  # fmt: skip

    def _cookie(self, name: str) -> str:
        try:
            found = SimpleCookie(self.headers.get("Cookie", "")).get(name)
        except CookieError:
            return ""
        return found.value if found else ""

    def _read_form(self) -> dict[str, str]:
        length = int(self.headers.get("Content-Length") or 0)
        if not 0 < length <= _LARGEST_FORM:
            raise ValueError("no form")
        fields = parse_qs(self.rfile.read(length).decode("ascii"), max_num_fields=10)
        return {name: values[0] for name, values in fields.items()}

    def _go_home(self, cookie: str | None) -> None:
        self.send_response(HTTPStatus.SEE_OTHER)
        self.send_header("Location", "/")
        if cookie is not None:
            self.send_header("Set-Cookie", f"{cookie}; Path=/; HttpOnly; SameSite=Strict")
        self._end(0)

    def _show(self, template: str, *, status: HTTPStatus = HTTPStatus.OK, **facts: Any) -> None:
        page = str(render(_PACKAGE, template, **facts))
        self._send(page.encode(), "text/html; charset=utf-8", status, styles=_STYLE.findall(page))

    def _send(self, body: bytes, media: str, status: HTTPStatus, styles: Sequence[str] = ()) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media)
        self._end(len(body), styles)
        self.wfile.write(body)

    def _end(self, length: int, styles: Sequence[str] = ()) -> None:
        self.send_header("Content-Length", str(length))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "same-origin")  # `no-referrer` makes a form send Origin: null
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("Content-Security-Policy", _policy(styles))
        self.end_headers()


def order(study: Study, reader: str) -> list[str]:
    """The cases in this reader's own random order, the same each time the page is opened."""
    names = sorted(case.name for case in study.cases)
    random.Random(f"embhub reader study {reader}").shuffle(names)  # noqa: S311  (an order, no secret)
    return names


def _policy(styles: Sequence[str]) -> str:
    """No script at all, and these style sheets alone, by their digests (Content Security Policy Level 3, 2.3.1)."""
    digests = [f"'sha256-{b64encode(hashlib.sha256(style.encode()).digest()).decode()}'" for style in styles]
    return (
        f"default-src 'none'; img-src 'self'; style-src {' '.join(digests) or NOTHING}; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    )
