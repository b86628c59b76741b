"""`python -m bench.audits --measure`: what attacks find where the truth is known.

Embeddings of `builtin` that leak much or a little, and people whom nobody learned from; how often each attack says
"leak" at 2.5 % (`bench.leaks`). Every trial goes into a JSON file as it ends, and is not run again.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import torch

from bench import leaks, marked
from bench.results_file import ResultsFile, Row
from embhub.diffusion.bases.pipelines import find_base, load_pipeline

RESULTS = Path(__file__).parent / "results" / "audits.json"
PAGE = Path(__file__).parents[1] / "docs/explanation/audits.md"


def table(rows: list[Row]) -> str:
    """How often each attack says "leak", by truth, with exact intervals."""
    return "\n".join(leaks.table([row for row in rows if row["part"] == "truths"]))


def main() -> None:
    """Run what was asked for, and print all that is there."""
    parser = argparse.ArgumentParser(prog="python -m bench.audits", description=__doc__)
    parser.add_argument("--measure", action="store_true", help="run what is missing")
    parser.add_argument("--groups", type=int, default=leaks.GROUPS, help="of four trials each")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--write", action="store_true", help=f"write the tables into docs/explanation/{PAGE.name}")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    results = ResultsFile(asked.results)
    rows = results.rows

    if asked.measure:
        with tempfile.TemporaryDirectory() as home:
            os.environ["EMBHUB_HOME"] = home
            pipe = load_pipeline(find_base("builtin"), device="cpu")
            leaks.run(pipe, results, groups=asked.groups)
    print(table(rows))
    if asked.write:
        PAGE.write_text(marked.put(PAGE.read_text(encoding="utf-8"), table(rows)), encoding="utf-8")


if __name__ == "__main__":
    main()
