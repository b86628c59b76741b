"""Where a list that is newest first starts to be read: from whatever leaves the fewest rows to look at.

That is the rows of one label, the index of words, the blocks that hold one or two letters, or all repositories. What
the start did not decide is a condition on each row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from embhub_registry.database import bands, letters, samples
from embhub_registry.database.connection import Connection
from embhub_registry.database.samples import Label
from embhub_registry.database.wording import label_code, label_key

_TRIGRAM = 3  # letters from which on the index of words finds a word
_LABEL_COST, _LIST_COST = 3.0, 0.05  # microseconds: a row of a label whose text is looked at, an item of the index


@dataclass
class Walk:
    """Tables, the place of a row in them, conditions with their values, and what each row has yet to be looked at for.

    Where `bounded`, only the newest rows count; where `sorted_here`, no index has the rows in their order. Where
    `banded`, the rows that hold its words are read part by part. `held` are keys of labels that stand beside the words.
    """

    tables: str
    at: str
    conditions: list[str] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)
    first: Sequence[Any] = ()  # values of the tables, before those of the conditions
    labels: Sequence[Label] = ()
    words: Sequence[str] = ()
    held: Sequence[str] = ()
    bounded: bool = False
    sorted_here: bool = False
    banded: bands.Wanted | None = None


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
    db: Connection, labels: Sequence[Label], words: Sequence[str], *, rows: str, need: int, reach: int, few: int
) -> Walk | None:
    """The walk that finds `need` rows of the table `rows` the soonest, None where no row can be found.

    One and two letters are looked for among the newest `reach` rows. A label of at most `few` rows is walked whatever
    the words are.
    """
    long = [word for word in words if _is_long(word)]
    short = [word for word in words if not _is_long(word)]
    sizes = _sizes(db, labels)
    labels = sorted(sizes, key=sizes.__getitem__)
    least = sizes[labels[0]] if labels else 0
    if short and not long and (not labels or least > few):
        blocks = letters.count_blocks(db, short, reach=reach)
        if blocks is not None:
            return _over_blocks(db, labels, short, rows=rows, reach=reach) if blocks else None
    if long:
        sample = samples.of_newest(db)
        if not labels or (least > few and not _label_is_quicker(sample, long, sizes, need=need)):
            return _over_words(db, sample, sizes, long, short, rows=rows)
    if labels:
        tables = db.dialect.labelled if rows == "repository" else db.dialect.labelled_words
        return Walk(
            tables, "walk.position", ["walk.kind = ? AND walk.value = ?"], [*labels[0]],
            labels=labels[1:], words=words, bounded=bool(short) and not long,
        )  # fmt: skip
    return Walk(f"{rows} AS r", "r.position", labels=labels, words=words, bounded=bool(short))


def of_part(db: Connection, walk: Walk, part: bands.Part, *, before: float | None) -> Walk:
    """A banded walk, over one part of the places alone; `before` is where a page begins, None for the newest."""
    assert walk.banded is not None  # noqa: S101  # only these have parts
    rows, values = bands.rows_of(db, walk.banded, part, before=before)
    return replace(walk, tables=f"{rows} AS {walk.tables}", first=values)


def _over_words(
    db: Connection, sample: samples.Sample, sizes: Mapping[Label, int], long: Sequence[str], short: Sequence[str], *,
    rows: str,
) -> Walk:  # fmt: skip
    """A walk that starts from the index of words, which knows labels too."""
    parts, keys = sample.choose(long), [label_key(*label) for label in sizes]
    if db.dialect.has_bands:
        parts = [part for part in parts if part.isalnum()] or [*long]  # of other letters that index knows nothing
        wanted = bands.Wanted(
            [*long, *short], parts, keys, sample.share_of(long, sizes), sample.knows(long), sample.newest
        )
        if rows == "wording":
            return Walk("r", "r.place", banded=wanted)
        return Walk(db.dialect.found.format(rows), db.dialect.matched, banded=wanted)
    condition, values = db.dialect.matches([*map(label_code, keys), *parts])
    return Walk(
        db.dialect.found.format(rows), db.dialect.matched, [condition], [*values], held=keys, words=[*long, *short]
    )


def _label_is_quicker(sample: samples.Sample, words: Sequence[str], sizes: Mapping[Label, int], *, need: int) -> bool:
    """Whether `need` rows that have words and labels are found sooner among a label's than by the index of words."""
    least = min(sizes.values())
    labelled = _LABEL_COST * min(need / sample.share(words), least)
    looked_at = min(need / sample.share_of(words, sizes), sample.newest)
    lists = sum(sample.share([part]) for part in (*sample.choose(words), *samples.keys_of(sizes)))
    return labelled < _LIST_COST * lists * looked_at + _LABEL_COST * need


def _over_blocks(db: Connection, labels: Sequence[Label], short: Sequence[str], *, rows: str, reach: int) -> Walk:
    holds = [db.dialect.contains("block.pairs") for _ in short]
    first = f"block.block >= ((SELECT max(position) FROM repository) - ?) / {letters.BLOCK}"  # noqa: S608  # put together from constants; values are bound
    walk = Walk(
        db.dialect.in_blocks.format(rows), "r.position", [*holds, first], [*short, reach], labels=labels, words=short
    )
    walk.bounded = walk.sorted_here = True
    return walk


def _is_long(word: str) -> bool:
    return len(word) >= _TRIGRAM


def _sizes(db: Connection, labels: Sequence[Label]) -> dict[Label, int]:
    """How many rows of each label everybody sees."""
    sizes = dict.fromkeys(labels, 0)
    if sizes:
        one = "SELECT kind, value, shown FROM label_count WHERE kind = ? AND value = ?"
        rows = db.execute(" UNION ALL ".join([one] * len(sizes)), [part for label in sizes for part in label])
        sizes |= {(kind, value): int(shown) for kind, value, shown in rows}
    return sizes
