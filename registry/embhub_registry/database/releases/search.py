"""Lists of repositories: words, tags and facets; pages by key rather than by offset; counts beside each facet.

Newest first is downwards by one integer, `repository.position`, which grows with every commit. One statement has a
condition for each label and for the words; the engine's own planner and indexes find its rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from embhub.formats.search_words import words_of
from embhub_registry.database.connection import Connection, Row
from embhub_registry.database.releases.placement import PAIR, split_pair
from embhub_registry.database.releases.repositories import _COLUMNS, Repository, _repository
from embhub_registry.http_errors import malformed

# What a list is sorted by: attributes of a row, the largest first.
SORTS = {
    "modified": "position",
    "created": "created",
    "downloads": "downloads",
    "epsilon": "epsilon",
    "epsilon-largest": "epsilon",
}
_ORDERS = {
    "epsilon": "coalesce(-r.epsilon, -1e300)",  # as `value_of`, and as the indexes compute it
    "epsilon-largest": "coalesce(r.epsilon, -1e300)",
}
FACETS = (
    "modality",
    "anatomy",
    "finding",
    "base",
    "privacy",
    "epsilon",
    "audit",
    "confirmation",
    "licence",
    "namespace",
)
PAIRS = 2000  # pairs of organ and finding, the most frequent, that are told at once
COUNTED = 300  # of a narrowed list, facets are counted over this many of the newest
VALUES = 12
REACH = 20_000  # how many of the newest are looked through for one or two letters, which no index holds
_TRIGRAM = 3  # letters from which on the index of words finds a word
_FREQUENT = 100  # values of a facet among which the most frequent are looked for
_ROW = ", ".join(f"r.{column}" for column in _COLUMNS.split(", "))


@dataclass(frozen=True)
class Query:
    """What to list. `after` is the sort value (of `SORTS`) and id of the last row of the page before.

    `tags` are the Hub's words; `facets` maps a facet to the values that a row must all have. `released` leaves out what
    holds no release, and what was taken back. `readers` are the namespaces whose private repositories may be listed.
    """

    text: str = ""
    author: str | None = None
    tags: Sequence[str] = ()
    sort: str = "modified"
    limit: int = 100
    after: tuple[Any, int] | None = None
    readers: Sequence[str] = ()
    everything: bool = False
    released: bool = False
    facets: Mapping[str, Sequence[str]] = field(default_factory=dict)
    gated: bool | None = None

    @property
    def narrowed(self) -> bool:
        """Whether anything is asked for but who may see it."""
        asked = self.text.strip() or self.author is not None or self.tags or any(self.facets.values())
        return bool(asked) or self.gated is not None


@dataclass(frozen=True)
class Counts:
    """How many rows there are, and how many of them have each value of each facet, most frequent first.

    Where `capped` is set, there are more than `total`, and the newest `total` were counted.
    """

    total: int
    capped: bool
    facets: Mapping[str, Sequence[tuple[str, int]]]


def run(db: Connection, query: Query) -> list[Repository]:
    """At most `limit + 1` repositories, so that a caller sees whether a next page exists.

    A private one is listed for `readers` of its namespace only.

    Raises:
        RequestDeniedError: 400 where `after` is of another order than this one.
    """
    return [_repository(row) for row in _select(db, query, _ROW)]


@dataclass(frozen=True)
class Page:
    """The ids of a page's rows, the sort value and id of its last, and whether others follow."""

    ids: Sequence[int]
    last: tuple[Any, int]
    more: bool


def find_page(db: Connection, query: Query, *, most_bytes: int) -> Page:
    """A page of `run` that is made from at most `most_bytes` of stored text, and from one row at least.

    Raises:
        RequestDeniedError: as `run`.
    """
    read, last, ids = 0, (0, 0), list[int]()
    for row in _select(db, query, f"{_order(query.sort)} AS value, r.id, length(r.summary) AS size"):
        read += row["size"]
        if len(ids) == query.limit or (ids and read > most_bytes):
            return Page(ids, last, more=True)
        last = (row["value"], row["id"])
        ids.append(row["id"])
    return Page(ids, last, more=False)


def read_page(db: Connection, ids: Sequence[int], query: Query) -> list[Repository]:
    """The repositories of these ids in this order, without those that the query's caller may not see any more."""
    statement = f"SELECT {_ROW} FROM repository AS r WHERE r.id IN ({_marks(ids)})"  # noqa: S608  # put together from constants; values are bound
    found = {row["id"]: _repository(row) for row in db.execute(statement, tuple(ids))}
    rows = (found[identity] for identity in ids if identity in found)
    return [row for row in rows if query.everything or (not row.hidden and _is_seen(row, query))]


def _is_seen(row: Repository, query: Query) -> bool:
    return not row.private or row.namespace in query.readers


def holding(db: Connection, digest: str, *, limit: int) -> list[int]:
    """The ids of at most `limit` repositories that hold, or held, a file of this SHA-256, oldest first."""
    statement = "SELECT DISTINCT repository_id FROM entry WHERE digest = ? ORDER BY repository_id LIMIT ?"
    return [int(row[0]) for row in db.execute(statement, (digest, limit))]


def value_of(row: Repository, sort: str) -> Any:
    """What a row is sorted by, for the cursor of a page that ends with it; where no epsilon is claimed, the least."""
    if sort not in _ORDERS:
        return getattr(row, SORTS[sort])
    return -1e300 if row.epsilon is None else row.epsilon if sort == "epsilon-largest" else -row.epsilon


def count(db: Connection) -> int:
    """How many public repositories there are."""
    return int(db.execute("SELECT count(*) FROM repository WHERE private = 0").fetchone()[0])


def count_facets(db: Connection, query: Query) -> Counts:
    """What is beside a list: its length and its facets, of the rows that `run` would give and no others."""
    if query.narrowed or query.everything or not query.released:
        return _count_found(db, query)
    total, counts = _frequent(db, most=_FREQUENT if query.readers else VALUES)
    if not query.readers:
        return Counts(total, False, {facet: _ranked(values) for facet, values in counts.items()})
    for row in _own(db, query.readers):
        if row["kind"] == "namespace":
            total += row["rows"]
        if row["kind"] in counts:
            values = counts[row["kind"]]
            values[row["value"]] = values.get(row["value"], 0) + row["rows"]
    return Counts(total, False, {facet: _ranked(values) for facet, values in counts.items()})


def count_pairs(db: Connection, *, readers: Sequence[str]) -> tuple[list[tuple[str, str, int]], bool]:
    """Organ and finding of what `run` would list, and how many have both; and whether rarer ones were left out."""
    statement = "SELECT value, shown FROM label_count WHERE kind = ? AND shown > 0 ORDER BY shown DESC, value LIMIT ?"
    found = [(row["value"], int(row["shown"])) for row in db.execute(statement, (PAIR, PAIRS + 1))]
    counts = Counter(dict(found[:PAIRS]))
    for row in _own(db, readers) if readers else ():
        if row["kind"] == PAIR:
            counts[row["value"]] += row["rows"]
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [(*split_pair(value), count) for value, count in ranked], len(found) > PAIRS


def _own(db: Connection, readers: Sequence[str]) -> Iterable[Row]:
    """Labels of the private rows that these namespaces alone see, and how many have each."""
    statement = (
        "SELECT kind, value, count(*) AS rows FROM repository JOIN label ON repository_id = repository.id"  # noqa: S608  # put together from constants; values are bound
        f" WHERE namespace IN ({_marks(readers)}) AND private = 1 AND released = 1 AND hidden = 0"
        " GROUP BY kind, value"
    )
    return db.execute(statement, tuple(readers))


def _frequent(db: Connection, *, most: int) -> tuple[int, dict[str, dict[str, int]]]:
    """How many rows everybody sees, and the most frequent values of each facet, in one statement."""
    one = "SELECT * FROM (SELECT kind, value, shown FROM label_count WHERE kind = '{}' AND shown > 0 {}) AS {}"
    order = "ORDER BY shown DESC, value LIMIT ?"
    parts = [one.format(facet, order, f"of_{facet}") for facet in FACETS]
    parts.append("SELECT '', '', coalesce(sum(shown), 0) FROM label_count WHERE kind = 'namespace'")
    total, counts = 0, {facet: dict[str, int]() for facet in FACETS}
    for kind, value, shown in db.execute(" UNION ALL ".join(parts), [most] * len(FACETS)):
        if kind:
            counts[kind][value] = shown
        else:
            total = int(shown)
    return total, counts


def _count_found(db: Connection, query: Query) -> Counts:
    wide = replace(query, limit=COUNTED, after=None, sort="modified")
    found = [row["id"] for row in _select(db, wide, "r.id")]
    ids = found[:COUNTED]
    statement = (
        "SELECT kind, value, count(*) AS rows FROM label"  # noqa: S608  # put together from constants; values are bound
        f" WHERE repository_id IN ({_marks(ids)}) AND kind NOT IN ('tag', '{PAIR}') GROUP BY kind, value"
    )
    counts: dict[str, dict[str, int]] = {facet: {} for facet in FACETS}
    for kind, value, rows in db.execute(statement, tuple(ids)):
        counts[kind][value] = rows
    return Counts(len(ids), len(found) > COUNTED, {facet: _ranked(values) for facet, values in counts.items()})


def _ranked(values: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(values.items(), key=lambda item: (-item[1], item[0]))[:VALUES]


def _select(db: Connection, query: Query, columns: str) -> Iterable[Row]:
    """The rows of a query in its order, one more than its limit."""
    where, values = _visible(query)
    for label in _labels(query):
        where.append("r.id IN (SELECT repository_id FROM label WHERE kind = ? AND value = ?)")
        values += label
    words = words_of(query.text)
    if long := [word for word in words if len(word) >= _TRIGRAM]:
        ids, parts = db.dialect.matches(long)
        where.append(f"r.id IN ({ids})")
        values += parts
    short = [word for word in words if len(word) < _TRIGRAM]
    if short and not long:
        where.append("r.position > (SELECT max(position) FROM repository) - ?")
        values.append(REACH)
    where += [db.dialect.contains("(SELECT words FROM wording WHERE repository_id = r.id)")] * len(short)
    values += short
    order = _order(query.sort)
    if query.after is not None:
        condition, bounds = _beyond(query, order)
        where.append(condition)
        values += bounds
    tie = "" if query.sort == "modified" else ", r.id DESC"
    condition = " AND ".join(where) or "1 = 1"
    statement = f"SELECT {columns} FROM repository AS r WHERE {condition} ORDER BY {order} DESC{tie} LIMIT ?"  # noqa: S608  # put together from constants; values are bound
    return db.execute(statement, (*values, query.limit + 1))


def _visible(query: Query) -> tuple[list[str], list[Any]]:
    """The conditions for what the query's caller may see, and their values."""
    where = [] if query.everything else [f"(r.private = 0 OR r.namespace IN ({_marks(query.readers)}))"]
    if query.released:
        where.append("r.released = 1")
    if query.released or not query.everything:  # an admin's scripts see what was yanked, pages do not
        where.append("r.hidden = 0")
    if query.gated is not None:
        where.append("r.gated <> ''" if query.gated else "r.gated = ''")
    return where, [] if query.everything else [*query.readers]


def _order(sort: str) -> str:
    return _ORDERS.get(sort, f"r.{SORTS[sort]}")


def _labels(query: Query) -> list[tuple[str, str]]:
    labels = [("tag", tag) for tag in query.tags]
    labels += [(kind, value) for kind, values in query.facets.items() for value in values]
    if query.author is not None:
        labels.append(("namespace", query.author))
    return labels


def _beyond(query: Query, order: str) -> tuple[str, list[Any]]:
    """The condition for what comes after a page's last row.

    Raises:
        RequestDeniedError: 400 where the cursor is of another order.
    """
    assert query.after is not None  # noqa: S101  # asked only where there is a page before
    value, identity = query.after
    if isinstance(value, str) != (query.sort == "created"):
        raise malformed("the cursor is of a list in another order", "start from the first page")
    if query.sort == "modified":
        return f"{order} < ?", [value]
    return f"({order}, r.id) < (?, ?)", [value, identity]


def _marks(values: Sequence[Any]) -> str:
    return ",".join("?" * len(values)) or "NULL"
