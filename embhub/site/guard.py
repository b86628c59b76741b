"""What an HTTP client may do on our behalf: it stays on a registry's origin, and answers stay small and prompt.

The client of huggingface_hub is shared by the whole process and sets no deadline; a registry may be hostile or merely
broken. The two hooks here see every request and every answer of that client, whoever made the request, and leave
those to hosts that are no registry (a base model's download, say) exactly as they are.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from embhub.faults import Compressed, SentElsewhere, TooMuch, TooSlow

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
    """Hooks for an httpx client (`http` is the library's module: huggingface_hub brings httpx or httpx2)."""

    def __init__(self, http: Any) -> None:
        self._http = http
        self._tokens: dict[str, str] = {}
        self._origins: set[str] = set()
        self._lock = threading.Lock()

    def protect(self, registry: str, token: str | None) -> None:
        """From now on `token` may travel to `registry` only, and what `registry` answers is bounded."""
        with self._lock:
            self._origins.add(origin(registry))
            if token:
                self._tokens[token] = origin(registry)

    def attach(self, client: Any) -> Any:
        """Add the hooks to `client` and return it."""
        client.event_hooks["request"].append(self.on_request)
        client.event_hooks["response"].append(self.on_response)
        return client

    def on_request(self, request: Any) -> None:
        """Refuse to carry a registry's token elsewhere; set deadlines and ask for plain bytes from a registry."""
        target = origin(str(request.url))
        token = str(request.headers.get("Authorization", "")).removeprefix("Bearer ")
        home = self._tokens.get(token)
        if home is not None and home != target:
            raise SentElsewhere(
                f"a registry sent its client on to {target}, with the token of {home}",
                "nothing was sent; inform the registry's operator",
            )
        if target in self._origins:
            request.headers["Accept-Encoding"] = "identity"  # a compressed answer has no honest size
            request.extensions["timeout"] = dict.fromkeys(("connect", "read", "write", "pool"), SILENCE)

    def on_response(self, response: Any) -> None:
        """Bound the size and the duration of a registry's answer, and follow it nowhere else: no bound holds there."""
        home = origin(str(response.request.url))
        if home in self._origins:
            for address in self._next_addresses(response):
                target = origin(str(response.request.url.join(address)))
                if target != home:
                    raise SentElsewhere(
                        f"a registry sent its client on to {target}", "nothing was requested there; inform its operator"
                    )
            if response.headers.get("Content-Encoding", "identity") != "identity":
                raise Compressed("the registry compressed an answer unasked", "is a proxy between you and it?")
            response.stream = self._bounded(response.stream)

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
                        raise TooMuch("the registry's answer has no end", "nothing was stored; inform its operator")
                    if time.monotonic() > deadline:
                        raise TooSlow(f"the registry took over {LONGEST_ANSWER:.0f} s for one answer", "try later")
                    yield chunk

            def close(self) -> None:
                stream.close()

        return Bounded()
