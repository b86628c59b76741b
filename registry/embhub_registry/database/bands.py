"""Words of three letters and more on PostgreSQL: bands of places in lists, from the newest on, until a page is full.

A GIN index gives all rows that hold a word, in no order, and most of them would be thrown away. So each row's text in
the index ends with the names of two bands: 16,384 and 262,144 places that stand side by side. Asked for a band and
a word, the index skips what is in other bands. How wide the next band is follows from how much was found so far.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from embhub_registry.database.connection import Connection, Row

_WALKED = 4096  # places whose rows are read one by one, without an index of words
_NARROW, _WIDE = 16_384, 262_144  # places of a band; also in migrations/postgresql/023
_DIGITS = str.maketrans("0123456789abcdef", "qxzjwvkyhfgpbmdc")  # letters that hardly stand side by side in a text


@dataclass(frozen=True)
class Part:
    """The places from `bottom` to before `top`; `band` is its name in the index, "" of all places, None of no index."""

    bottom: int
    top: int
    band: str | None


def collect(
    db: Connection, *, before: float | None, need: int, read: Callable[[Part, int], Sequence[Row]]
) -> list[Row]:
    """At most `need` rows, newest first, as of one moment; `read` gives at most so many of a part.

    Args:
        before: the place before which to begin, None for the newest.
    """
    rows: list[Row] = []
    with _one_moment(db):
        newest = db.execute("SELECT coalesce(max(position), 0) + 1 FROM repository").fetchone()[0]
        top = bottom = int(newest) if before is None else math.ceil(min(newest, before))
        while bottom > 0 and len(rows) < need:
            part = _next(top, bottom, found=len(rows), need=need)
            rows += read(part, need - len(rows))
            bottom = part.bottom
    return rows


def _next(top: int, bottom: int, *, found: int, need: int) -> Part:
    """The part to look through after those from `top` to `bottom`."""
    looked = top - bottom
    wanted = (need - found) * looked // found if found else 0 if top == bottom else 1 << 62
    if wanted <= _WALKED:
        return Part(max(bottom - _WALKED, 0), bottom, None)
    for width, letter in ((_NARROW, "x"), (_WIDE, "z")):
        if wanted <= 4 * width or looked < width:
            number = (bottom - 1) // width
            return Part(number * width, bottom, letter + f"{number:04x}"[:4].translate(_DIGITS))
    return Part(0, bottom, "")


@contextmanager
def _one_moment(db: Connection) -> Iterator[None]:
    """A row that moves up meanwhile is found at its former place."""
    if db.in_transaction:
        yield
        return
    db.execute(db.dialect.snapshot)
    try:
        yield
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")
