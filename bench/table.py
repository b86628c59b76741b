"""What a benchmark found, as rows of a Markdown table; ratios first, goals beside them, misses called misses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.measurement import Compared, Ratio, Spent, middle

HEADER = ("measured", "embhub", "peer", "times less (wall)", "times less (CPU)", "goal")


@dataclass(frozen=True)
class Row:
    """One comparison: what each side needed, how many times less embhub needs, and the goal for that, if any."""

    what: str
    ours: str
    peer: str
    wall: Ratio | None = None
    cpu: Ratio | None = None
    goal: float | None = None

    def cells(self) -> tuple[str, ...]:
        """The row in the order of HEADER. The goal is held against the first ratio: people wait by the wall clock."""
        goal = ""
        if self.goal is not None:
            met = self.wall is not None and self.wall.median >= self.goal
            goal = f"{self.goal:g}: {'met' if met else '**missed**'}"
        ratios = ("" if ratio is None else str(ratio) for ratio in (self.wall, self.cpu))
        return (self.what, self.ours, self.peer, *ratios, goal)


@dataclass(frozen=True)
class Section:
    """A benchmark's rows under a title; `peer` says who the peer is, `notes` what was not measured."""

    title: str
    peer: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()


def timed(what: str, compared: Compared, *, goal: float | None = None) -> Row:
    """A row of two arms that took turns."""
    ours, peer = (both_clocks(middle(turns)) for turns in (compared.ours, compared.peer))
    return Row(what, ours, peer, compared.wall, compared.cpu, goal)


def both_clocks(spent: Spent) -> str:
    """`0.241 s, CPU 0.478 s`, in the unit that suits the wall time."""
    units = {"s": 1.0, "ms": 1e3, "µs": 1e6}
    unit = next((name for name, scale in units.items() if spent.wall * scale >= 0.1), "µs")
    scale = units[unit]
    return f"{_digits(spent.wall * scale)} {unit}, CPU {_digits(spent.cpu * scale)} {unit}"


def render(sections: Sequence[Section]) -> str:
    """Every section as Markdown, columns aligned so that it can be read on a terminal as it is."""
    return "\n".join(_render(section) for section in sections)


def _render(section: Section) -> str:
    lines = [HEADER, *(row.cells() for row in section.rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADER))]
    text = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    text.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    remarks = "".join(f"\n{note}\n" for note in section.notes)
    body = "\n".join(text) + "\n" if section.rows else ""
    return f"## {section.title}\n\n{section.peer}\n\n{body}{remarks}"


def _digits(number: float) -> str:
    """Three digits that count."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.1f}" if number >= 10 else f"{number:.3g}"
