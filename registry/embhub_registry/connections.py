"""What one connection may take of the server: bytes of a head, and time for each part of a request and its answer.

The times are those that docs/reference/hostile-input.md names; who is slower than that is cut off, however patiently
it sends (slow loris) or however little it reads.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from embhub_registry.people.rate_limits import FORWARDED
from embhub_registry.recent import Kept, Pair, Recent

MAX_HEAD_BYTES = 32_000
MAX_HEADERS = 100
MAX_WAITING = 64  # requests sent ahead of their answers
HEAD_SECONDS = 15.0  # from the first byte, or from the connection, to the end of the head
BODY_SECONDS = 150.0  # from there to the end of the body; `bodies` answers earlier, in words
REST_SECONDS = 15.0  # for the rest of a body whose request was answered already
ANSWER_SECONDS = 300.0  # for an answer that is not taken off the line


class TooMuch(Exception):
    """Raised inside the parser, which turns it into a 400 and closes."""


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's protocol with a bound on everything that a client decides."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._unread = 0  # bytes since the last sign of progress
        self._head = 0
        self._message_ended = True
        self._answered = False  # from what was kept
        self._begun = 0  # requests in one read
        self._active = 0.0  # when a request was answered that did not stop the timer of idle lines
        self._repeated: Kept | None = None
        self._believed: ProxyHeadersMiddleware | None = None
        self._recent: Recent | None = self.app_state.get("recent")
        self._hearing: asyncio.TimerHandle | None = None
        self._telling: asyncio.TimerHandle | None = None
        self._hear_within(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop(self._hearing)
        self._stop(self._telling)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        whole = self._message_ended  # so far: nothing of this request came before
        if whole and self.timeout_keep_alive_task is not None and self._recent is not None:
            same = self._recent.find_same(data)
            if same is not None and self._repeat(same):
                self._active = self.loop.time()
                self.server_state.total_requests += 1
                return
        self._unread += min(len(data), MAX_HEAD_BYTES)  # one read may hold the end of a body, too
        self._begun = 0
        super().data_received(data)
        if self._repeated is not None and self._recent is not None:
            if whole and self._begun == 1 and self._message_ended:
                self._recent.learn(data, self._repeated)
            self._repeated = None
        if self._unread > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The request's head, or what follows its body, is too long.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._unread = self._head = 0
        self._begun += 1
        self._message_ended = self._answered = False
        self._hear_within(HEAD_SECONDS)

    def on_url(self, url: bytes) -> None:
        self._measure(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._measure(len(name) + len(value))
        if len(self.headers) >= MAX_HEADERS:
            raise TooMuch
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if len(self.pipeline) >= MAX_WAITING:
            raise TooMuch
        self._unread = 0
        if self._answer_again():
            return
        self._hear_within(BODY_SECONDS)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unread = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._message_ended = True
        self._stop(self._hearing)
        if not self._answered:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._message_ended:
            self._hear_within(REST_SECONDS)

    def timeout_keep_alive_handler(self) -> None:
        idle = self.loop.time() - self._active
        if idle < self.timeout_keep_alive:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive - idle, self.timeout_keep_alive_handler
            )
            return
        super().timeout_keep_alive_handler()
        self._tell_within(ANSWER_SECONDS)  # `close` waits for what was written to be read

    def pause_writing(self) -> None:
        super().pause_writing()
        self._tell_within(ANSWER_SECONDS)

    def resume_writing(self) -> None:
        self._stop(self._telling)
        super().resume_writing()

    def _answer_again(self) -> bool:
        """Send what was kept for this request, where nothing else is under way on the line; False where it was not."""
        busy = self.cycle is not None and not self.cycle.response_complete
        if self._recent is None or busy or not self.parser.should_keep_alive():
            return False
        if self.parser.get_http_version() != "1.1":
            return False
        kept = self._recent.find(self.parser.get_method().decode("ascii"), self.url, self.headers)
        if kept is None:
            return False
        passed_on = [pair for pair in self.headers if pair[0] in FORWARDED]
        if not self._repeat(kept, passed_on):
            return False
        self._answered = True
        self._repeated = None if passed_on else kept  # whom a proxy speaks for is looked up each time
        super().on_response_complete()
        return True

    def _repeat(self, kept: Kept, passed_on: Sequence[Pair] = ()) -> bool:
        """Send it; not where the line is still full, closing, or one of too many: then the application decides."""
        most = self.limit_concurrency
        crowded = most is not None and (len(self.connections) >= most or len(self.tasks) >= most)
        if self._recent is None or crowded or self.transport.get_write_buffer_size() or self.transport.is_closing():
            return False
        client = self._client(passed_on) if passed_on else self.client
        answer = self._recent.repeat(kept, client, self.server_state.default_headers, passed_on=passed_on)
        if answer is None:
            return False
        head, body = answer
        self.transport.writelines((head, body) if body else (head,))  # one system call, no copy
        return True

    def _client(self, passed_on: Sequence[Pair]) -> tuple[str, int] | None:
        """Who asks, as uvicorn's middleware names the caller of a proxy that is believed."""
        if not self.config.proxy_headers:
            return self.client
        if self._believed is None:
            self._believed = ProxyHeadersMiddleware(_nothing, trusted_hosts=self.config.forwarded_allow_ips or "")
        scope: Any = {"type": "http", "client": self.client, "headers": passed_on, "scheme": self.scheme}
        ends: Any = _nothing  # it stands for what receives and for what sends, and is called as neither
        with contextlib.suppress(StopIteration):  # it waits for nothing, so one step is all of it
            self._believed(scope, ends, ends).send(None)
        found: tuple[str, int] | None = scope["client"]
        return found

    def _measure(self, size: int) -> None:
        self._head += size
        if self._head > MAX_HEAD_BYTES:
            raise TooMuch

    def _hear_within(self, seconds: float) -> None:
        self._stop(self._hearing)
        self._hearing = self.loop.call_later(seconds, self.transport.abort)

    def _tell_within(self, seconds: float) -> None:
        self._stop(self._telling)
        self._telling = self.loop.call_later(seconds, self.transport.abort)

    @staticmethod
    def _stop(timer: asyncio.TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()


async def _nothing(*call: Any) -> None:
    """The end of a chain of ASGI applications."""
    del call
