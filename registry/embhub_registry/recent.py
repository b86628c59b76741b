"""Answers about public files, kept ready to be sent again to callers without a token.

An answer holds for one state of the database, and is looked up only while that state is the present one: SQLite says
at every request whether anybody, in this process or another, has committed since (`PRAGMA data_version`; a
connection's own changes it counts itself). After any commit everything is forgotten. So a repository that was deleted,
made private, gated or disabled is not served from here, and nothing has to remember to say so. What a token, a
condition or a range decides is never kept; pace, log, metrics and download counts go on as everywhere.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from starlette.types import Scope

from embhub_registry.database import Connection
from embhub_registry.database.clock import stamp
from embhub_registry.http_errors import Denied
from embhub_registry.operation.metrics import Metrics
from embhub_registry.people.rate_limits import Pace
from embhub_registry.storage.blobs import MissingBlob
from embhub_registry.storage.folder import Registry
from embhub_registry.storage.logs import redact, repeated, write
from embhub_registry.storage.usage_counters import Tally

MOST = 4000  # answers; the bytes of files are `blobs`' to keep
LONGEST_SAME = 2000  # bytes of a request that is known again without parsing
STATUS_LINES = {200: b"HTTP/1.1 200 OK\r\n", 307: b"HTTP/1.1 307 Temporary Redirect\r\n"}

# A request with one of these is answered by the application: who asks, for which part, with a body.
DECIDING = frozenset(
    [
        b"authorization", b"range", b"if-range", b"if-match", b"if-none-match", b"if-modified-since",
        b"if-unmodified-since", b"expect", b"upgrade", b"content-length", b"transfer-encoding",
    ]
)  # fmt: skip

Moment = tuple[int, int]
Pair = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Repeatable:
    """What a handler says of an answer that depends on the database and the address alone.

    `moment` was read before anything else was. `digest` names the body, None for an empty one; `counted` is the
    repository whose download this is, if it is one.
    """

    moment: Moment
    digest: str | None = None
    counted: int | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer as it goes over the line, and what is counted and logged of it."""

    moment: Moment
    status: bytes
    head: bytes
    said: str
    counted_as: tuple[str, str, str]
    digest: str | None
    counted: int | None


class Recent:
    """The answers of one process, on the event loop's thread alone.

    What is shared by all requests that the loop hears in one turn is done once a turn: the look at the database, the
    time of the log lines, their writing. That look comes after the turn's requests had arrived, so none of them is
    answered from before its own time.
    """

    def __init__(self, registry: Registry, *, metrics: Metrics, pace: Pace, tally: Tally) -> None:
        self._registry = registry
        self._metrics = metrics
        self._pace = pace
        self._tally = tally
        self._moment: Moment | None = None
        self._kept: OrderedDict[tuple[str, bytes], Kept] = OrderedDict()
        self._same: OrderedDict[bytes, Kept] = OrderedDict()
        self._looked = False
        self._said: list[str] = []
        self._now = ""
        self._more: tuple[list[Pair], bytes] = ([], b"")

    def moment(self, db: Connection) -> Moment:
        """The database's state, by this thread's connection; where it is a new one, everything kept is forgotten."""
        found = (db.execute("PRAGMA data_version").fetchone()[0], db.total_changes)
        if found != self._moment:
            self._kept.clear()
            self._same.clear()
            self._moment = found
        return found

    def keep(self, scope: Scope, status: int, headers: Iterable[Pair], answer: Repeatable) -> None:
        """Keep the head that is about to be sent, unless the database changed since it was made."""
        if answer.moment != self._moment or status not in STATUS_LINES or scope.get("query_string"):
            return
        method, url = scope["method"], scope["raw_path"]
        said = {"method": method, "path": scope["path"][:200], "status": status}
        self._kept[method, url] = Kept(
            answer.moment,
            STATUS_LINES[status],
            _lines(headers) + b"\r\n",
            redact(json.dumps(said)[1:-1]),
            (method, getattr(scope.get("route"), "path", "none"), str(status)),
            answer.digest,
            answer.counted,
        )
        if len(self._kept) > MOST:
            self._kept.popitem(last=False)

    def find(self, method: str, url: bytes, headers: Iterable[Pair]) -> Kept | None:
        """What was kept for this request; None where the application must answer."""
        kept = self._kept.get((method, url))
        if kept is None or any(name in DECIDING for name, _ in headers):
            return None
        self._kept.move_to_end((method, url))
        return kept

    def find_same(self, data: bytes) -> Kept | None:
        """What was kept for a request with the very same bytes, which were parsed then."""
        return self._same.get(data)

    def learn(self, data: bytes, kept: Kept) -> None:
        """These are the bytes of a whole request, nothing before or after it, that `kept` answers."""
        if len(data) > LONGEST_SAME:
            return
        self._same[data] = kept
        if len(self._same) > MOST:
            self._same.popitem(last=False)

    def repeat(
        self, kept: Kept, client: tuple[str, int] | None, more: list[Pair], *, passed_on: Iterable[Pair] = ()
    ) -> tuple[bytes, bytes] | None:
        """Head and body to send; None where it no longer holds, or the caller is too fast: the application says so.

        `more` are the headers of every answer that change with time, `passed_on` those of the request that say that a
        proxy stands between.
        """
        started = time.perf_counter()
        if not self._looked:
            self._look()
        if kept.moment != self._moment:
            return None
        host = client[0] if client else ""
        try:
            body = b"" if kept.digest is None else self._registry.blobs.get(kept.digest)
            self._pace.check_address({"client": client, "headers": passed_on})
        except (Denied, MissingBlob):
            return None
        if more is not self._more[0]:
            self._more = (more, _lines(more))
        if kept.counted is not None:
            self._tally.downloaded(kept.counted)
        seconds = time.perf_counter() - started
        self._metrics.answered_again(kept.counted_as, seconds)
        self._said.append(repeated(kept.said, now=self._now, milliseconds=seconds * 1000, client=host))
        return b"".join((kept.status, self._more[1], kept.head)), body

    def _look(self) -> None:
        self.moment(self._registry.database.connection())
        self._now = stamp()
        self._looked = True
        asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        """Runs before the loop listens again."""
        self._looked = False
        said, self._said = self._said, []
        write("".join(said))


def _lines(headers: Iterable[Pair]) -> bytes:
    return b"".join(b"%s: %s\r\n" % pair for pair in headers)
