"""docs/benchmarks.md: written by a run, never by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

from bench.table import Section, render

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"

_OPENING = """# Benchmarks

What embhub costs beside what people would use without it. Written by `make bench` (`python -m bench --write`), never by
hand; `python -m bench --only training --quick` tries one part.

**Read the ratios.** Seconds belong to the machine below. Each peer ran in the same run, turn by turn with embhub
(`bench/measurement.py`). A ratio is the peer's cost divided by embhub's: above 1, embhub needs less; below 1, it needs
more. It is the median of the turns or seeds, with the least and the largest in brackets; costs beside it are medians. A
goal is held against the ratio of wall time. CPU time, of all threads of the process, moves less on a busy machine:
where the two ratios disagree, the machine was not quiet.

"""


OF_A_GPU = """# Benchmarks on a GPU

What embhub costs on a GPU beside diffusers alone. Written by `python -m bench.gpu --write`, never by hand. How to read
the ratios stands in [Benchmarks](benchmarks.md), which has the figures of a processor.

"""


def write(
    sections: Sequence[Section], machine: Mapping[str, str], *, day: date, scale: str, path: Path = PAGE,
    opening: str = _OPENING,
) -> None:  # fmt: skip
    """Write the page."""
    path.write_text(compose(sections, machine, day=day, scale=scale, opening=opening), encoding="utf-8")


def compose(
    sections: Sequence[Section], machine: Mapping[str, str], *, day: date, scale: str, opening: str = _OPENING
) -> str:
    """The page's text."""
    facts = {"measured on": f"{day:%Y-%m-%d}, {scale} run", **machine}
    table = "\n".join(f"| {name} | {value} |" for name, value in facts.items())
    quick = "" if scale == "full" else "This was a short run: its figures are rough.\n\n"
    return f"{opening}{quick}| | |\n|---|---|\n{table}\n\n{render(sections)}"
