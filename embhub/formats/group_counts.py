"""What groups by age or sex give away: the size of a hidden one, or the number of patients behind a range."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

SMALLEST_CELL = 10
"""Groups under 10 people are counted as "<10"."""
_FEWEST = 5
"""As many values must be possible of what a range, or one of several hidden groups, does not say."""


def ends(count: int | str) -> tuple[int, int]:
    """The least and the most that a count stands for: a number, a range such as "40-44", or "<10"."""
    if isinstance(count, int):
        return count, count
    if count.startswith("<"):
        return 0, int(count[1:]) - 1
    low, high = count.split("-")
    return int(low), int(high)


def find_fault(tables: Mapping[str, Mapping[str, int | str]], totals: Iterable[int | str]) -> str | None:
    """What whoever adds up reads from the tables that the card does not say; None where there is nothing.

    Each table is taken to be of all patients, as a reader would. Tables that contradict each other or a total are not
    judged: one of them may still give something away.

    Args:
        tables: people in each group, by the name of the table.
        totals: counts of all patients, exact or ranges.
    """
    known = [ends(total) for total in totals]
    return next(filter(None, (_find(tables, stated) for stated in (*known, _overlap(known)))), None)


def _find(tables: Mapping[str, Mapping[str, int | str]], stated: tuple[int, int]) -> str | None:
    low, high = _overlap([stated, *(_sum(table.values()) for table in tables.values())])
    if low > high:
        return None
    if _values(*stated) >= _FEWEST > _values(low, high):
        return (
            f"population gives away the number of patients, which is declared as a range: it is {low} to {high}; "
            'write groups as ranges, too, such as "40-44"'
        )
    for name, table in tables.items():
        hidden = [group for group, count in table.items() if str(count).startswith("<")]
        needed = SMALLEST_CELL if len(hidden) == 1 else _FEWEST
        for group in hidden:
            least, most = _sum(count for other, count in table.items() if other != group)
            if _values(max(0, low - most), min(SMALLEST_CELL - 1, high - least)) < needed:
                return (
                    f"population.{name} hides a group that a total gives away: write n_patients (and n_images) as a"
                    ' range such as "50-100", or merge groups'
                )
    return None


def _sum(counts: Iterable[int | str]) -> tuple[int, int]:
    found = [ends(count) for count in counts]
    return sum(low for low, _ in found), sum(high for _, high in found)


def _overlap(ranges: Iterable[tuple[int, int]]) -> tuple[int, int]:
    found = list(ranges)
    return max(low for low, _ in found), min(high for _, high in found)


def _values(low: int, high: int) -> int:
    return high - low + 1
