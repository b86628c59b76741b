"""Fuzz one target with atheris: `python -m tests.fuzz.fuzz TARGET [libFuzzer options] CORPUS`.

TARGET is one of `targets.TARGETS`, or `all`.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["embhub", "embhub_registry", "tests.fuzz.targets"]):
    from tests.fuzz.targets import TARGETS, read_all


def main() -> None:
    """Hand the target to libFuzzer, which ends the process."""
    target = read_all if sys.argv[1] == "all" else TARGETS[sys.argv[1]]
    atheris.Setup([sys.argv[0], *sys.argv[2:]], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
