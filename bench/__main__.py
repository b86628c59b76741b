"""`make bench` and `python -m bench`: measure embhub and its peers in one run, and print the machine and the tables.

A whole run ends with the tables of the studies (`bench.studies`), which were measured earlier and say so.
"""

from __future__ import annotations

import argparse
import importlib
from types import ModuleType

from bench import machine
from bench.scale import FULL, QUICK
from bench.table import render

BENCHMARKS = ("training", "race", "drawing")


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", action="append", choices=BENCHMARKS, help="this one; may be given several times")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter turns: figures are rough")
    asked = parser.parse_args()
    print(machine.table())
    for name in asked.only or BENCHMARKS:
        print(render([_load(name).run(QUICK if asked.quick else FULL)]), flush=True)
    if not asked.only:
        print("\nStudies, as measured earlier\n")
        _load("studies").main()


def _load(name: str) -> ModuleType:
    return importlib.import_module(f"bench.{name}")


if __name__ == "__main__":
    main()
