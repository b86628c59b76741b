"""Fuzz one target with atheris: `python -m tests.fuzz.fuzz TARGET [libFuzzer options] CORPUS`.

TARGET is one of `targets.TARGETS` or `log_parsers.LOG_PARSERS`, or `all`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import atheris

WATCHED = ["embhub", "embhub_registry", "tests.fuzz.targets", "tests.fuzz.log_parsers"]


def find(name: str) -> Callable[[bytes], None]:
    """The target of this name, imported so that the fuzzer sees which way its code goes."""
    with atheris.instrument_imports(include=WATCHED):
        from tests.fuzz.log_parsers import LOG_PARSERS

        if name in LOG_PARSERS:
            return LOG_PARSERS[name]
        from tests.fuzz.targets import TARGETS, read_all

        return read_all if name == "all" else TARGETS[name]


def main() -> None:
    """Hand the target to libFuzzer, which ends the process."""
    target = find(sys.argv[1])
    atheris.Setup([sys.argv[0], *sys.argv[2:]], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
