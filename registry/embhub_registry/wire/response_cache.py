"""Answers about open repositories, kept in memory and sent again while the database has not changed.

An answer holds for one state of the database, and is looked up only while that state is the present one: SQLite says
at every request whether anybody, in this process or another, has committed since (`Connection.change_mark`; a
connection's own changes it counts itself). After any commit everything is forgotten. So a repository that was deleted,
made private, gated or disabled is not served from here, and nothing has to remember to say so.

Only answers about open repositories are ever kept: public, without a gate, not disabled. A token is looked up at every
request all the same, and what was answered to a caller with a token is given to callers with a token alone. A request
with a session's cookie is never answered from here and its answer is never kept: pages name who is logged in.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from embhub_registry.database import Connection, Database
from embhub_registry.database.repositories import Repository
from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.storage.blobs import MissingBlobError
from embhub_registry.storage.folder import Registry
from embhub_registry.storage.usage_counters import UsageCounters
from embhub_registry.wire.rate_limiting import caller_of
from embhub_registry.wire.session_cookies import has_session_cookie

MAX_ANSWERS = 4000
MAX_BYTES = 32_000_000  # of bodies; those of files are `blobs`' to keep
MAX_BODY_BYTES = 1_000_000
STATUSES = frozenset([200, 307])

# A request with one of these is answered by the application: for which part, under which condition, with a body.
DECIDING_HEADERS = frozenset(
    [
        b"range", b"if-range", b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since",
        b"expect", b"upgrade", b"content-length", b"transfer-encoding",
    ]
)  # fmt: skip

Moment = tuple[object, ...]
Authorization = Literal["anonymous", "token"]


@dataclass(frozen=True, slots=True)
class Cacheable:
    """What a handler says of an answer that depends on the database and the request's address alone.

    Attributes:
        moment: The database's state, read before anything else was.
        digest: The file that is the body; None where the body is kept as it was sent.
        downloaded: The repository whose download this is, if it is one.
        seconds: How long it holds at most; None where no clock decides about it.
    """

    moment: Moment
    digest: str | None = None
    downloaded: int | None = None
    seconds: float | None = None


class Key(NamedTuple):
    """All of a request that an answer may depend on."""

    authorization: Authorization
    method: str
    path: bytes
    query: bytes
    accept: bytes
    origin: tuple[str, bytes]  # scheme and Host: pages and links name the registry's address as the caller knows it


@dataclass(frozen=True, slots=True)
class CachedAnswer:
    """Head and body as the application sent them, and what is counted of them."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    route: Any
    about: Cacheable
    until: float


class ResponseCache:
    """The answers of one process, on the event loop's thread alone.

    Args:
        clock: Seconds, never set back.
        max_answers: Of more, those that were not asked for longest are dropped.
        max_bytes: The same for their bodies together.
    """

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, max_answers: int = MAX_ANSWERS, max_bytes: int = MAX_BYTES
    ) -> None:
        self.hits = 0
        self._clock = clock
        self._max_answers = max_answers
        self._max_bytes = max_bytes
        self._moment: Moment | None = None
        self._answers: OrderedDict[Key, CachedAnswer] = OrderedDict()
        self._held = 0

    @property
    def present(self) -> Moment | None:
        """The database's state when it was last asked."""
        return self._moment

    def moment(self, db: Connection) -> Moment:
        """The database's state, by this thread's connection; where it is a new one, every answer is forgotten."""
        found = db.change_mark()
        if found != self._moment:
            self._answers.clear()
            self._held = 0
            self._moment = found
        return found

    def find(self, key: Key, database: Database) -> CachedAnswer | None:
        """The answer to this request, if the database has not changed; None where the application must give it."""
        found = self._answers.get(key)
        if found is None or self.moment(database.connection()) != found.about.moment:
            return None
        if self._clock() >= found.until:
            self._drop(key)
            return None
        self._answers.move_to_end(key)
        return found

    def keep(
        self, key: Key, about: Cacheable, *, status: int, headers: list[tuple[bytes, bytes]], body: bytes, route: Any
    ) -> None:
        """Keep an answer, unless the database has changed since it was begun."""
        if about.moment != self._moment or status not in STATUSES or len(body) > MAX_BODY_BYTES:
            return
        until = float("inf") if about.seconds is None else self._clock() + about.seconds
        self._drop(key)
        self._answers[key] = CachedAnswer(status, headers, body, route, about, until)
        self._held += len(body)
        while len(self._answers) > self._max_answers or self._held > self._max_bytes:
            self._drop(next(iter(self._answers)))

    def _drop(self, key: Key) -> None:
        dropped = self._answers.pop(key, None)
        self._held -= len(dropped.body) if dropped else 0


class ResponseCacheMiddleware:
    """Answers from `app.state.responses` where it can; else notes what a handler says may be kept.

    It stands inside the middleware that counts, logs and limits, so that all this goes on.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        key = key_of(scope) if scope["type"] == "http" else None
        if key is None:
            await self.app(scope, receive, send)
            return
        state = scope["app"].state
        cache: ResponseCache = state.responses
        registry: Registry = state.registry
        found = cache.find(key, registry.database)
        body = body_of(registry, found) if found else None
        if found is None or body is None or not _admit(scope):
            await self.app(scope, receive, _Recorder(scope, key, cache, send) if found is None else send)
            return
        cache.hits += 1
        scope["route"] = found.route
        if found.about.downloaded is not None:
            usage_counters: UsageCounters = state.usage_counters
            usage_counters.downloaded(found.about.downloaded)
        await send({"type": "http.response.start", "status": found.status, "headers": list(found.headers)})
        await send({"type": "http.response.body", "body": body})


class _Recorder:
    """Passes an answer on; keeps it where its handler said so and all of it came at once."""

    def __init__(self, scope: Scope, key: Key, cache: ResponseCache, send: Send) -> None:
        self._scope = scope
        self._key = key
        self._cache = cache
        self._send = send
        self._start: Message | None = None

    async def __call__(self, message: Message) -> None:
        about: Cacheable | None = self._scope.get("state", {}).get("cacheable")
        if about is not None and message["type"] == "http.response.start":
            self._start = {**message, "headers": list(message["headers"])}
        elif about is not None and self._start is not None and not message.get("more_body"):
            self._cache.keep(
                self._key, about, status=self._start["status"], headers=self._start["headers"],
                body=b"" if about.digest else message.get("body", b""), route=self._scope.get("route"),
            )  # fmt: skip
            self._start = None
        await self._send(message)


def key_of(scope: Scope) -> Key | None:
    """What an answer to this request is kept under; None where a header or method makes it the application's."""
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    sent = dict(headers)
    names = [name for name, _ in headers] if len(sent) < len(headers) else []
    if any(names.count(name) > 1 for name in (b"authorization", b"accept", b"host")):
        return None
    return key_of_distinct(scope, sent)


def key_of_distinct(scope: Scope, sent: Mapping[bytes, bytes]) -> Key | None:
    """The same where no header that an answer depends on came twice; `sent` has them by name."""
    if scope["method"] not in ("GET", "HEAD") or not DECIDING_HEADERS.isdisjoint(sent):
        return None
    if b"cookie" in sent and has_session_cookie(scope):
        return None
    return Key(
        "token" if b"authorization" in sent else "anonymous", scope["method"], scope["raw_path"], scope["query_string"],
        sent.get(b"accept", b""), (scope["scheme"], sent.get(b"host", b"")),
    )  # fmt: skip


def mark_cacheable(
    request: Request, repository: Repository, moment: Moment, *, digest: str | None = None,
    downloaded: int | None = None, seconds: float | None = None,
) -> None:  # fmt: skip
    """Say of the answer to `request` that it may be kept, where its repository is open to everybody."""
    if not (repository.private or repository.gated or repository.disabled or repository.set_aside):
        request.state.cacheable = Cacheable(moment, digest, downloaded, seconds)


def body_of(registry: Registry, found: CachedAnswer) -> bytes | None:
    """The body of a cached answer; None where the application has to fetch it, or to say that it is lost."""
    if found.about.digest is None:
        return found.body
    try:
        return registry.blobs.at_once(found.about.digest)
    except MissingBlobError:  # or it holds other bytes: the handler says so
        return None


def _admit(scope: Scope) -> bool:
    """Whether the caller needs no token or sent a good one; where it is not, the handler says so."""
    return not isinstance(caller_of(scope), RequestDeniedError)
