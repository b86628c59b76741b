"""The short way to an answer that is in the response cache: what the middleware does, in one call, on plain requests.

Host, token, rate limit, count of downloads, metrics and log line are those of the middleware, by the same functions.
Nothing is refused here. Wherever anything is not in order, or is not known, the application gets the request and says
so: a host that is not ours, a token that is no good, a rate that is used up, a registry that is closed.

What is kept of the database between two requests, accounts by their token and whether the registry is closed, holds
while the database has not changed, as the cached answers do (`response_cache`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from ipaddress import ip_address

from starlette.applications import Starlette
from starlette.types import Scope

from embhub_registry.database.accounts import Account
from embhub_registry.people import auth
from embhub_registry.wire import host_header, rate_limiting, request_ids, request_log, response_cache
from embhub_registry.wire.closed_reading import is_closed
from embhub_registry.wire.connection_protocol import Ends, Write
from embhub_registry.wire.plain_requests import PlainRequest
from embhub_registry.wire.request_limits import PIECE_BYTES
from embhub_registry.wire.response_cache import CachedAnswer, Moment

MOST_ACCOUNTS = 1_000
MOST_HEADS = 4_000
MAX_PATH = 2_000  # as `segmented_paths` has it


class ImmediateAnswers:
    """Answers plain requests from `application.state.responses`.

    Args:
        application: As `app.build` makes it.
        is_proxy: Whose word on a caller's address is believed: the same that uvicorn believes.
    """

    def __init__(self, application: Starlette, *, is_proxy: Callable[[str], bool]) -> None:
        self._application = application
        state = application.state
        self._crowd, self._metrics, self._responses = state.crowd, state.metrics, state.responses
        self._usage_counters, self._registry = state.usage_counters, state.registry
        self._is_proxy = lru_cache(maxsize=1_000)(is_proxy)
        self._moment: Moment | None = None
        self._is_closed = True
        self._accounts: dict[bytes, Account] = {}
        self._heads: dict[int, _Head] = {}

    def answer(self, request: PlainRequest, ends: Ends, write: Write) -> bool:
        """Write the whole answer, or nothing: then it is False, and the application's to give."""
        started = time.perf_counter()
        try:
            scope = self._scope(request, ends)
            found = self._find(request, scope) if scope is not None else None
        except Exception:  # noqa: BLE001  # whatever it is, the application meets it too, and says it in its words
            return False
        if scope is None or found is None:
            return False
        answer, body = found
        self._metrics.begun()
        self._responses.hits += 1
        scope["route"] = answer.route
        if answer.about.downloaded is not None:
            self._usage_counters.downloaded(answer.about.downloaded)
        request_id = request_ids.choose(request.headers)
        head = self._head(answer).with_id(request_id)
        write([head, body])
        request_log.note(self._metrics, scope, status=answer.status, started=started, request_id=request_id)
        return True

    def _scope(self, request: PlainRequest, ends: Ends) -> Scope | None:
        """The request as ASGI has it, its caller's address as uvicorn finds it; None where that is not plain."""
        headers = request.headers
        client, scheme = ends.client, "http"
        if (b"x-forwarded-for" in headers or b"x-forwarded-proto" in headers) and self._is_proxy(client[0]):
            scheme = headers.get(b"x-forwarded-proto", b"http").decode("ascii")
            forwarded = headers.get(b"x-forwarded-for")
            if scheme not in ("http", "https") or (forwarded is not None and not _is_address(forwarded)):
                return None
            client = client if forwarded is None else (forwarded.decode("ascii"), 0)
        if b"%" in request.path or len(request.path) > MAX_PATH:
            return None
        return {
            "type": "http", "method": request.method, "scheme": scheme, "path": request.path.decode("ascii"),
            "raw_path": request.path, "query_string": request.query, "headers": list(headers.items()),
            "client": client, "server": ends.server, "state": {}, "app": self._application,
        }  # fmt: skip

    def _find(self, request: PlainRequest, scope: Scope) -> tuple[CachedAnswer, bytes] | None:
        """The answer and its body, for a caller who may have it; the caller's rate is then taken, the token noted.

        Raises:
            RequestDeniedError: as the middleware.
        """
        key = response_cache.key_of_distinct(scope, request.headers)
        if key is None or self._crowd.is_too_large:
            return None
        answer: CachedAnswer | None = self._responses.find(key, self._registry.database)
        body = response_cache.body_of(self._registry, answer) if answer is not None else None
        if answer is None or body is None or len(body) > PIECE_BYTES or not self._head(answer).fits(body):
            return None
        self._forget_old()
        if self._is_closed:
            return None
        host_header.check(scope)
        rate_limiting.take(scope, self._account(request.headers.get(b"authorization")))
        return answer, body if scope["method"] == "GET" else b""

    def _forget_old(self) -> None:
        """What was read before the database changed is read again; `responses` has just asked whether it has."""
        moment = self._responses.present
        if moment != self._moment:
            self._accounts.clear()
            self._heads.clear()
            self._moment, self._is_closed = None, True
            self._is_closed = is_closed(self._registry.database.connection())
            self._moment = moment

    def _account(self, sent: bytes | None) -> Account | None:
        """The account of the request's token; its time is looked at each time, for nothing is written when that ends.

        Raises:
            RequestDeniedError: 401.
        """
        if sent is None:
            return None
        words = sent.decode("latin-1")
        known = auth.digest(words)
        account = self._accounts.get(known)
        if account is not None:
            auth.require_in_force(account)
            return account
        account = auth.authenticate(self._registry.database.connection(), words)
        if account is not None and len(self._accounts) < MOST_ACCOUNTS:
            self._accounts[known] = account
        return account

    def _head(self, answer: CachedAnswer) -> _Head:
        found = self._heads.get(id(answer))
        if found is None or found.answer is not answer:
            if len(self._heads) >= MOST_HEADS:
                self._heads.clear()
            found = self._heads[id(answer)] = _Head(answer)
        return found


class _Head:
    """The bytes of an answer's head, but for its date and its request's id."""

    def __init__(self, answer: CachedAnswer) -> None:
        self.answer = answer
        self._start = f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\ndate: ".encode()
        named = _lines(answer.headers)
        self._middle = b"\r\n" + named + request_ids.HEADER + b": "
        self._end = b"\r\n" + _lines(request_log.missing_headers(answer.headers)) + b"\r\n"
        self._lengths = [value for name, value in answer.headers if name.lower() == b"content-length"]
        self._is_plain = all(
            name.lower() not in (b"connection", b"transfer-encoding") and not {0, 10, 13} & {*name, *value}
            for name, value in answer.headers
        )

    def fits(self, body: bytes) -> bool:
        """Whether it says where the answer ends, and says it of this body; of HEAD a body need not be known."""
        is_told = len(self._lengths) == 1 and (not body or self._lengths[0] == b"%d" % len(body))
        return self._is_plain and is_told

    def with_id(self, request_id: str) -> bytes:
        """The whole head."""
        return b"".join((self._start, _date(int(time.time())), self._middle, request_id.encode("ascii"), self._end))


def _lines(headers: list[tuple[bytes, bytes]]) -> bytes:
    return b"".join(b"%s: %s\r\n" % pair for pair in headers)


@lru_cache(maxsize=1)
def _date(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode("ascii")


@lru_cache(maxsize=1_000)
def _is_address(value: bytes) -> bool:
    """Whether this is one address, without a port or anything else that uvicorn would have to take apart."""
    try:
        ip_address(value.decode("ascii"))
    except ValueError:
        return False
    return True
