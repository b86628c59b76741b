"""docs/benchmarks-registry.md: written by a run of `bench.registry`, never by hand; misses are called misses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from bench.measurement import Ratio

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks-registry.md"

_OPENING = """# Benchmarks of the registry

What the registry's server, its search and the `embhub` command cost, beside other people's servers. Written by
`python -m bench.registry --write`, never by hand; `--only reading --quick` tries one part.

**Read the ratios.** Figures belong to the machine below and to how busy it was. Peers ran in the same run, turn by
turn. Costs are CPU time of a server's processes, all of them, user and system: on a busy machine it moves less than
time by the clock, but it moves, for cores and caches are shared. Ratios are medians of the turns, the least and the
largest in brackets. A part that was measured by itself, on another day, says so.

"""


@dataclass(frozen=True)
class Row:
    """One comparison; `ratio` and `goal` are empty where there is none."""

    what: str
    ours: str
    peer: str
    theirs: str
    ratio: Ratio | None
    goal: str

    def cells(self) -> tuple[str, ...]:
        """In the order of the table."""
        return (self.what, self.ours, self.peer, self.theirs, "" if self.ratio is None else str(self.ratio), self.goal)


@dataclass(frozen=True)
class Section:
    """Rows under a title; `unit` says what the figures are."""

    title: str
    unit: str
    rows: Sequence[Row]
    notes: Sequence[str] = ()


def held(met: bool, goal: str) -> str:
    """A goal and whether it was reached."""
    return f"{goal}: {'met' if met else '**missed**'}"


def render(sections: Sequence[Section]) -> str:
    """Every section as Markdown, columns aligned."""
    return "\n".join(_render(section) for section in sections)


def write(sections: Sequence[Section], facts: Mapping[str, str], *, day: date, size: str, path: Path = PAGE) -> None:
    """Write the page."""
    rows = {"measured on": f"{day:%Y-%m-%d}, {size} run", **facts}
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    quick = "" if size == "full" else "This was a short run: its figures are rough.\n\n"
    path.write_text(f"{_OPENING}{quick}| | |\n|---|---|\n{table}\n\n{render(sections)}", encoding="utf-8")


def _render(section: Section) -> str:
    header = ("measured", f"embhub: {section.unit}", "peer", "the peer's", "ratio", "goal")
    lines = [header, *(row.cells() for row in section.rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    text = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    text.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return f"## {section.title}\n\n" + "\n".join(text) + "\n" + "".join(f"\n{note}\n" for note in section.notes)
