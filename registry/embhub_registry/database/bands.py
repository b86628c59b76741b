"""Words of three letters and more on PostgreSQL: bands of places in lists, from the newest on, until a page is full.

A GIN index gives all rows that hold a word, in no order, and most of them would be thrown away. So each row's text in
the index ends with the names of two bands: 16,384 and 262,144 places that stand side by side. Asked for a band and
a word, the index skips what is in other bands. How wide the next band is follows from how much was found so far, and
from how many bands were read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from embhub_registry.database.connection import Connection, Row, one_moment

WALKED = 4096  # places, the newest of a page, whose rows are read one by one, without an index of words
_PAGE = 64  # rows that these may hold of a word
_NARROW, _WIDE = 16_384, 262_144  # places of a band; also in migrations/postgresql/023
_MOST = 16  # bands of a width that are read: rows that are rarer further down would take hundreds of statements
_DIGITS = str.maketrans("0123456789abcdef", "qxzjwvkyhfgpbmdc")  # letters that hardly stand side by side in a text
_TEXT = (
    "(words || ' x' || translate(lpad(to_hex(position / 16384), 4, '0'), '0123456789abcdef', 'qxzjwvkyhfgpbmdc')"
    " || ' z' || translate(lpad(to_hex(position / 262144), 4, '0'), '0123456789abcdef', 'qxzjwvkyhfgpbmdc'))"
)  # what the index `wording_banded` is over


_SAMPLE = (
    "SELECT count(*) FILTER (WHERE {}) AS found, max(position) AS newest, max(position) - min(position) + 1 AS span"
    " FROM (SELECT position, words FROM wording ORDER BY position DESC LIMIT 512) AS newest"
)
# microseconds, rounded: a row of a label whose text is looked at, a row of a word whose label is, and parts as such
_LABEL_COST, _WORD_COST, _START_COST = 4, 6, 4000


@dataclass(frozen=True)
class Part:
    """The places from `bottom` to before `top`.

    `band` is its name in the index, "" of all places. Where it is None, these are the newest places, or those that
    a page begins with: `bottom` and `top` are not known, and the rows are read one by one.
    """

    band: str | None = None
    bottom: int = 0
    top: int = 0


def collect(db: Connection, *, before: float | None, need: int, read: Callable[[Part], Sequence[Row]]) -> list[Row]:
    """At most `need` rows, newest first, as of one moment; `read` gives at most so many of a part.

    Args:
        before: the place before which to begin, None for the newest.
    """
    found, looked = 0, 0
    if need <= _PAGE:
        rows = list(read(Part()))
        if len(rows) >= need:
            return rows
        found, looked = len(rows), WALKED
    rows = []  # what was found is of another moment, and is found once more
    with one_moment(db):  # a row that moves up meanwhile would be in no part
        newest = int(db.execute("SELECT coalesce(max(position), 0) FROM repository").fetchone()[0])
        top = bottom = newest + 1 if before is None else math.ceil(min(newest + 1, before))
        while bottom > 0 and len(rows) < need:
            part = _next(bottom, passed=top - bottom, wanted=(need - len(rows)) * looked // max(found, 1))
            rows += read(part)
            bottom = part.bottom
            if top - bottom > looked:
                found, looked = len(rows), top - bottom
    return rows[:need]


def _next(bottom: int, *, passed: int, wanted: int) -> Part:
    """The part below `bottom`, after so many places, where the page may be full after `wanted` more."""
    if bottom <= 4 * _NARROW:  # all that is left, or a small registry
        return Part("", 0, bottom)
    for width, letter in ((_NARROW, "x"), (_WIDE, "z")):
        if passed < _MOST * width and (wanted <= 4 * width or passed < width // 4):
            number = (bottom - 1) // width
            return Part(letter + f"{number:04x}"[:4].translate(_DIGITS), number * width, bottom)
    return Part("", 0, bottom)


def label_is_quicker(db: Connection, words: Sequence[str], rows: int, *, need: int) -> bool:
    """Whether `need` rows that have words and a label are found sooner among the label's `rows` than in bands.

    How frequent the words are is taken from the newest rows. SQLite reads a word's rows newest first: there, never.
    """
    if not db.dialect.has_bands:
        return False
    condition, values = db.dialect.matches(words)
    sample = db.execute(_SAMPLE.format(condition), values).fetchone()
    if not sample["found"]:
        return False
    labelled, worded = need * sample["span"] / sample["found"], need * sample["newest"] / max(rows, 1)
    return bool(_LABEL_COST * labelled < _WORD_COST * worded + _START_COST)


def rows_before(db: Connection, words: Sequence[str], before: float | None) -> tuple[str, list[Any]]:
    """The newest rows before a place, of all if it is None, that hold all of these words: a table, and its values."""
    top = "(SELECT max(position) + 1 FROM repository)" if before is None else "CAST(? AS BIGINT)"
    start = [] if before is None else [math.ceil(max(min(before, 2**62), 0))]
    holds = [db.dialect.contains("words")] * len(words)
    conditions = " AND ".join([f"position >= {top} - ?", f"position < {top}", *holds])
    rows = f"(SELECT position FROM wording WHERE {conditions} ORDER BY position DESC OFFSET 0)"  # noqa: S608  # put together from constants; values are bound
    return rows, [*start, WALKED, *start, *words]


def rows_in(db: Connection, words: Sequence[str], band: str) -> tuple[str, list[Any]]:
    """The rows of a band that hold all of these words: a table, and its values; "" is every band.

    No place is asked for: the index of places would be chosen. A word may be part of a band's name, so each row is
    looked at for it.
    """
    wanted = [band, *words] if band else words
    conditions = [f"{_TEXT} LIKE ?"] * len(wanted) + [db.dialect.contains("words")] * len(words)
    rows = f"(SELECT position FROM wording WHERE {' AND '.join(conditions)} OFFSET 0)"  # noqa: S608  # put together from constants; values are bound
    return rows, [*db.dialect.matches(wanted)[1], *words]
