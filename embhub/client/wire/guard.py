"""What an HTTP client may do on our behalf: it stays on a registry's origin, and answers stay small and prompt.

A registry may be hostile or merely broken. The two hooks here see every request and every answer of the client that
speaks to it, redirects included. The public Hub keeps large files on other hosts: a client for it may follow a file's
redirect there, without the access token.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from embhub.client.wire.errors import (
    AnswerTooLargeError,
    AnswerTooSlowError,
    CompressedAnswerError,
    RedirectedElsewhereError,
)
from embhub.site.pins import transport

_FILE = re.compile(r"/(?!api/)[^/]+/[^/]+/resolve/", re.ASCII)

LARGEST_ANSWER = 8_000_000  # bytes; the largest honest one, a full page of search results, is well under 1 MB
LONGEST_ANSWER = 120.0  # seconds for one answer, however slowly it drips
SILENCE = 30.0  # seconds without a byte, or to connect
LONGEST_CALL = 300.0  # seconds for everything that one call asks for, headers and second tries included
LONGEST_QUESTION = 20.0  # the same for what is asked by the way, and may stay open


def origin(url: str) -> str:
    """Scheme, host and port of `url`, the port always written out."""
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    return f"{parts.scheme}://{parts.hostname}:{port}"


class Guard:
    """Hooks for the client of one registry (`http` is the library's module, whose streams are wrapped).

    `files_elsewhere`: whether the answer for a file may lead to another host, which is asked without the token.
    """

    def __init__(self, registry: str, http: Any, *, files_elsewhere: bool = False) -> None:
        self._home = origin(registry)
        self._http = http
        self._files_elsewhere = files_elsewhere

    def on_request(self, request: Any) -> None:
        """Refuse to ask anybody else, with or without a token, but for a file that may be elsewhere."""
        if not self._files_elsewhere or origin(str(request.url)) == self._home:
            self._check(str(request.url))
            return
        self._check_encrypted(str(request.url))
        for name in ("authorization", "cookie"):
            request.headers.pop(name, None)

    def on_response(self, response: Any) -> None:
        """Bound the size and the duration of an answer, and follow it nowhere else."""
        for address in self._next_addresses(response):
            target = str(response.request.url.join(address))
            if self._files_elsewhere and self._is_file(response.request):
                self._check_encrypted(target)
            else:
                self._check(target)
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise CompressedAnswerError("the registry compressed an answer unasked", "is a proxy between you and it?")
        response.stream = self._bounded(response.stream)

    def _is_file(self, request: Any) -> bool:
        """Whether a file of a repository was asked for, at the registry or where it led to."""
        path = request.url.raw_path.decode("ascii", "replace")
        asked = origin(str(request.url)) != self._home or _FILE.match(path) is not None
        return request.method == "GET" and asked

    def _check_encrypted(self, url: str) -> None:
        """Another host is asked by https, or is this machine where the registry is asked by http too."""
        target = urlsplit(url)
        plain = target.scheme == "http" and self._home.startswith("http://")
        if target.scheme != "https" and not (plain and transport.is_this_machine(target.hostname or "")):
            raise RedirectedElsewhereError(
                f"a file is said to be at {origin(url)}, which is not https", "nothing was asked there; try later"
            )

    def _check(self, url: str) -> None:
        if (target := origin(url)) != self._home:
            raise RedirectedElsewhereError(
                f"a registry sent its client on to {target}", "nothing was asked there; inform the registry's operator"
            )

    @staticmethod
    def _next_addresses(response: Any) -> Iterator[str]:
        """Where a client would go from here: a redirect, and the next page of a list."""
        if "Location" in response.headers and 300 <= response.status_code < 400:
            yield response.headers["Location"]
        if link := response.links.get("next"):
            yield link.get("url", "")

    def _bounded(self, stream: Any) -> Any:
        class Bounded(self._http.SyncByteStream):  # type: ignore[misc, name-defined]  # a class of a module that is imported when first used
            def __iter__(self) -> Iterator[bytes]:
                deadline, total = time.monotonic() + LONGEST_ANSWER, 0
                for chunk in stream:
                    total += len(chunk)
                    if total > LARGEST_ANSWER:
                        raise AnswerTooLargeError(
                            "the registry's answer has no end", "nothing was stored; inform its operator"
                        )
                    if time.monotonic() > deadline:
                        raise AnswerTooSlowError(
                            f"the registry took over {LONGEST_ANSWER:.0f} s for one answer", "try later"
                        )
                    yield chunk

            def close(self) -> None:
                stream.close()

        return Bounded()
