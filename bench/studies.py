"""Tables of the studies, from what they kept: each takes an hour of a core or so, and `make bench` does not rerun them.

`python -m bench.studies` prints them all; each says the command that measures it anew and the page that reads it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import (
    capacity,
    components,
    components_page,
    compositions,
    few_patients,
    glioma,
    insertion,
    privacy,
    vectors,
    worth,
)

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Study:
    """What it asks, the module that measures it, the page that reads it, and its table of the results kept."""

    question: str
    module: str
    page: str
    results: Path
    table: Callable[[Any], str]

    def shown(self) -> str:
        """The table of the results kept. Those of weights that are gone are not kept."""
        if not self.results.exists():
            return "Not measured yet."
        return self.table(json.loads(self.results.read_text(encoding="utf-8"))).strip()

    def render(self) -> str:
        """A heading, where it comes from, and the table; without results, the command that makes them."""
        head = f"## {self.question}\n\nMeasured by `python -m bench.{self.module}`; read it in {self.page}.\n\n"
        return f"{head}{self.shown()}\n"


STUDIES = (
    Study("What are generated images worth, in real patients?", "worth", "docs/explanation/worth-in-patients.md",
          worth.RESULTS, lambda kept: worth.table(kept["modalities"])),
    Study("How many vectors, and how many images?", "vectors", "docs/explanation/vectors-and-images.md",
          vectors.RESULTS, vectors.table),
    Study("Which component to adapt?", "components", "docs/explanation/which-component.md",
          components.RESULTS, components_page.compose),
    Study("Does a finding put at a place show?", "insertion", "docs/explanation/using-embeddings.md",
          insertion.RESULTS, insertion.table),
    Study("Does a glioma stand where its mask is?", "glioma", "docs/explanation/using-embeddings.md",
          glioma.RESULTS, glioma.table),
    Study("Do findings come with their weight, and together?", "compositions", "docs/explanation/using-embeddings.md",
          compositions.RESULTS, compositions.table),
    Study("What does privacy cost?", "privacy", "docs/explanation/private-training.md", privacy.RESULTS, privacy.table),
    Study("How many patients can a file give away?", "capacity", "docs/explanation/capacity.md",
          capacity.RESULTS, capacity.table),
    Study("What does private training learn from few patients?", "few_patients", "docs/explanation/few-patients.md",
          few_patients.RESULTS, few_patients.present_table),
)  # fmt: skip


def render() -> Iterator[str]:
    """The studies one after another."""
    yield from (study.render() for study in STUDIES)


def main() -> None:
    """Print them all."""
    print("\n".join(render()))


if __name__ == "__main__":
    main()
