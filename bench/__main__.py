"""`make bench` and `python -m bench`: measure embhub and its peers in one run, print the table, write it on demand.

A whole run ends with the tables of the studies (`bench.studies`), which were measured earlier and say so.
"""

from __future__ import annotations

import argparse
import importlib
import os
from datetime import date
from types import ModuleType

os.environ["HF_HUB_OFFLINE"] = ""  # read at import; the peer of pulling asks a registry on this machine

from bench import machine, page
from bench.scale import FULL, QUICK
from bench.table import render

BENCHMARKS = ("training", "files", "signatures", "downloads", "drawing")


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", action="append", choices=BENCHMARKS, help="this one; may be given several times")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter turns: figures are rough")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md, which holds a whole run")
    asked = parser.parse_args()
    if asked.write and asked.only:
        parser.error("--write is for a whole run, without --only")
    scale, facts = QUICK if asked.quick else FULL, machine.describe()
    sections = []
    for name in asked.only or BENCHMARKS:
        section = _load(name).run(scale)
        print(render([section]), flush=True)
        sections.append(section)
    if asked.write:
        page.write(sections, facts, day=date.today(), scale=scale.name)
        print(f"written to {page.PAGE.relative_to(page.PAGE.parents[1])}")
    if not asked.only:
        print("\nStudies, as measured earlier\n")
        _load("studies").main()


def _load(name: str) -> ModuleType:
    return importlib.import_module(f"bench.{name}")


if __name__ == "__main__":
    main()
