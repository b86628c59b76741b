"""Words of three letters and more on PostgreSQL: the newest places first, and more of them until a page is full.

A GIN index gives all rows that hold a word, in no order, and most of them would be thrown away. So the index also has
the labels of each row, and the numbers of two bands that its place is in: 4,096 and 65,536 places side by side.
Asked for a few bands, labels and parts of words, it skips what lacks one of them. How many bands is guessed from a
sample. Each statement begins where the page does and is whole by itself, so a row that moves meanwhile is not missed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from embhub_registry.database.connection import Connection, Row
from embhub_registry.database.wording import BETWEEN

WALKED = 4096  # places, the newest of a page, whose rows are read one by one, without an index of words
_FULL = 0.4  # of these are enough for a page, or they are not begun with
_NARROW, _WIDE = 4096, 65_536  # places of a band; also in migrations/postgresql
_MOST = 40  # bands that are asked for at once; with more, the index is asked for all places
_SPARE = 1.25  # times as many places as a page should need
_RARE = 4  # wide bands for words that a sample does not know
_FURTHER = 16  # times as many places in the next statement, at most
# what the index `wording_found` is over, beside `words`
_LABELS, _BANDS = "string_to_array(labels, chr(30))", "ARRAY[position / 4096, -1 - position / 65536]"


@dataclass(frozen=True)
class Wanted:
    """What the index is asked for.

    `words` are what a text has to hold, `parts` what of them is looked up, and `labels` the keys of labels. `share`
    is that of the places whose rows have all of it, as far as a sample says; it has a text with the words if these are
    `is_frequent`. `newest` is the largest place that it has.
    """

    words: Sequence[str]
    parts: Sequence[str]
    labels: Sequence[str]
    share: float
    is_frequent: bool
    newest: int


@dataclass(frozen=True)
class Part:
    """The newest `places` of a page, None for all; where `walked`, they are read one by one."""

    places: int | None
    walked: bool = False


def collect(
    wanted: Wanted, *, before: float | None, need: int, read: Callable[[Part], Sequence[Row]]
) -> list[Row]:  # fmt: skip
    """At most `need` rows, newest first, as of one moment; `read` gives at most so many of a part.

    Args:
        before: the place before which to begin, None for the newest.
    """
    expected = math.ceil(need / wanted.share)
    if expected < _FULL * WALKED:
        rows = list(read(Part(WALKED, walked=True)))
        if len(rows) >= need:
            return rows
    places = math.ceil(_SPARE * expected) if wanted.is_frequent else _RARE * _WIDE
    left = wanted.newest if before is None else min(wanted.newest, before)
    while places < min(_MOST * _WIDE, left):
        rows = list(read(Part(places)))
        if len(rows) >= need:
            return rows
        places *= _FURTHER if not rows else max(2, min(_FURTHER, math.ceil(_SPARE * need / len(rows))))
    return list(read(Part(None)))


def rows_of(db: Connection, wanted: Wanted, part: Part, *, before: float | None) -> tuple[str, list[Any]]:
    """The places of a part whose rows hold the words, newest first: a table with its
    columns `place`, `labels` and `shown`, and its values."""
    if part.walked:
        return _rows_before(db, wanted, before)
    conditions, values = ["words LIKE ?"] * len(wanted.parts), db.dialect.matches(wanted.parts)[1]
    if part.places is not None:
        bands, top = _bands(part.places, before)
        conditions.append(f"{_BANDS} && ARRAY({bands})")
        values += top
    if wanted.labels:
        conditions.append(f"{_LABELS} @> string_to_array(?, chr(30))")
        values.append(BETWEEN.join(wanted.labels))
    conditions += [db.dialect.contains("words")] * len(wanted.words)
    # `+ 0`: without it, the index of places would be read from its end instead
    rows = f"SELECT position + 0 AS place, labels, shown FROM wording WHERE {' AND '.join(conditions)}"  # noqa: S608  # put together from constants; values are bound
    return f"({rows} ORDER BY position + 0 DESC)", [*values, *wanted.words]


def _rows_before(db: Connection, wanted: Wanted, before: float | None) -> tuple[str, list[Any]]:
    top, start = _top(before)
    holds = [db.dialect.contains("words")] * len(wanted.words) + [db.dialect.contains("labels")] * len(wanted.labels)
    conditions = " AND ".join([f"position > {top} - ?", f"position <= {top}", *holds])
    rows = f"(SELECT position AS place, labels, shown FROM wording WHERE {conditions} ORDER BY position DESC OFFSET 0)"  # noqa: S608  # put together from constants; values are bound
    keys = [f"{BETWEEN}{key}{BETWEEN}" for key in wanted.labels]
    return rows, [*start, WALKED, *start, *wanted.words, *keys]


def _bands(places: int, before: float | None) -> tuple[str, list[Any]]:
    """The numbers of the bands that hold so many places, and the values in it."""
    width, number = (_NARROW, "band") if places <= _MOST * _NARROW else (_WIDE, "-1 - band")
    top, start = _top(before)
    bounds = f"greatest({top} / {width} - {-(-places // width)}, 0), {top} / {width}"
    return f"SELECT {number} FROM generate_series({bounds}) AS band", [*start, *start]  # noqa: S608  # put together from constants; values are bound


def _top(before: float | None) -> tuple[str, list[Any]]:
    """The place that a page begins with."""
    newest = "(SELECT max(position) FROM repository)"
    if before is None:
        return newest, []
    return f"least({newest}, CAST(? AS BIGINT))", [math.ceil(max(min(before, 2**62), 0)) - 1]
