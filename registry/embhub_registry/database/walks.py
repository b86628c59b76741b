"""Where a list that is newest first starts to be read: from whatever leaves the fewest rows to look at.

That is the rows of one label, the index of words, the blocks that hold one or two letters, or all repositories. What
the start did not decide is a condition on each row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from embhub_registry.database import bands, letters
from embhub_registry.database.connection import Connection

Label = tuple[str, str]
"""A kind and a value, as in the table `label`."""
_TRIGRAM = 3  # letters from which on the index of words finds a word


@dataclass
class Walk:
    """Tables, the place of a row in them, conditions with their values, and what each row has yet to be looked at for.

    Where `bounded`, only the newest rows count; where `sorted_here`, no index has the rows in their order. Where
    `banded` holds words, the rows that hold them are read band by band.
    """

    tables: str
    at: str
    conditions: list[str] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)
    first: Sequence[Any] = ()  # values of the tables, before those of the conditions
    labels: Sequence[Label] = ()
    words: Sequence[str] = ()
    bounded: bool = False
    sorted_here: bool = False
    banded: Sequence[str] = ()


def over_all(db: Connection, labels: Sequence[Label], words: Sequence[str], *, reach: int) -> Walk:
    """A walk in any order; the index of words narrows it. One and two letters alone are looked for among the newest
    `reach` rows, as in `newest_first`: no index has them, and the texts of all rows would be read."""
    short, long = ([word for word in words if _is_long(word) is kind] for kind in (False, True))
    walk = Walk("repository AS r", "r.position", labels=labels, words=short)
    if short and not long:
        walk.tables, walk.first = "(SELECT * FROM repository ORDER BY position DESC LIMIT ?) AS r", [reach]
        walk.bounded = True
    if long:
        condition, values = db.dialect.matches(long)
        walk.conditions.append(f"r.position IN ({db.dialect.words_at.format(condition)})")
        walk.values += values
    return walk


def newest_first(
    db: Connection, labels: Sequence[Label], words: Sequence[str], *, need: int, reach: int, few: int
) -> Walk | None:
    """The walk that finds `need` rows the soonest, None where no row can be found.

    One and two letters are looked for among the newest `reach` rows. A label of at most `few` rows is walked whatever
    the words are.
    """
    long = [word for word in words if _is_long(word)]
    short = [word for word in words if not _is_long(word)]
    sizes = {label: _size(db, label) for label in labels}
    labels = sorted(sizes, key=sizes.__getitem__)
    least = sizes[labels[0]] if labels else 0
    if short and not long and (not labels or least > few):
        blocks = letters.count_blocks(db, short, reach=reach)
        if blocks is not None:
            return _over_blocks(db, labels, short, reach=reach) if blocks else None
    if labels and (not long or least <= few or (not short and bands.label_is_quicker(db, long, least, need=need))):
        return Walk(
            db.dialect.labelled, "walk.position", ["walk.kind = ? AND walk.value = ?"], [*labels[0]],
            labels=labels[1:], words=words, bounded=bool(short) and not long,
        )  # fmt: skip
    if long and db.dialect.has_bands:
        return Walk(db.dialect.found, db.dialect.matched, labels=labels, words=short, banded=long)
    if long:
        # where labels are looked up, too, most rows are dropped: their texts are not read before
        condition, values, checked = (*db.dialect.matches(long), ()) if labels else db.dialect.narrows(long)
        return Walk(
            db.dialect.found, db.dialect.matched, [condition], [*values], labels=labels, words=[*checked, *short]
        )
    return Walk("repository AS r", "r.position", labels=labels, words=words, bounded=bool(short))


def of_part(db: Connection, walk: Walk, part: bands.Part, *, before: float | None) -> Walk:
    """A banded walk, over one part of the places alone; `before` is where a page begins, None for the newest."""
    places: list[str] = []
    bounds: list[Any] = []
    if part.band is None:
        rows, values = bands.rows_before(db, walk.banded, before)
    else:
        rows, values = bands.rows_in(db, walk.banded, part.band)
        places, bounds = ["wording.position >= ?", "wording.position < ?"], [part.bottom, part.top]
    tables = walk.tables.replace("wording JOIN", f"{rows} AS wording JOIN", 1)
    return replace(walk, tables=tables, first=values, conditions=places, values=bounds, sorted_here=True)


def _over_blocks(db: Connection, labels: Sequence[Label], short: Sequence[str], *, reach: int) -> Walk:
    holds = [db.dialect.contains("block.pairs") for _ in short]
    first = f"block.block >= ((SELECT max(position) FROM repository) - ?) / {letters.BLOCK}"  # noqa: S608  # put together from constants; values are bound
    walk = Walk(db.dialect.in_blocks, "r.position", [*holds, first], [*short, reach], labels=labels, words=short)
    walk.bounded = walk.sorted_here = True
    return walk


def _is_long(word: str) -> bool:
    return len(word) >= _TRIGRAM


def _size(db: Connection, label: Label) -> int:
    """How many rows of a label everybody sees."""
    row = db.execute("SELECT max(shown) FROM label_count WHERE kind = ? AND value = ?", label).fetchone()
    return int(row[0] or 0)
