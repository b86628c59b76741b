"""Commands of embhub in a process that stops where torch would be imported: run `run(cases)`.

Each answer says how the command ended (`exit`, or None where it got as far as torch), and what stderr had by then.
"""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

HEAVY = {"torch", "diffusers", "transformers", "opacus", "accelerate", "matplotlib"}


class TorchWanted(BaseException):
    """Something imports torch, or what brings it."""


class Stop(MetaPathFinder):
    """Lets every import pass but the heavy ones."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        if fullname.partition(".")[0] in HEAVY:
            raise TorchWanted(fullname)


def run(cases: Mapping[str, Sequence[str]], folder: Path) -> dict[str, dict[str, Any]]:
    """Run every command in one process, in `folder`; answers by name."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.without_torch", str(folder)],
        input=json.dumps(dict(cases)), capture_output=True, text=True, check=True,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    answers: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return answers


def _run_one(words: Sequence[str]) -> dict[str, Any]:
    from embhub.__main__ import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code: int | None = main(words)
        except TorchWanted:
            code = None
    return {"exit": code, "err": err.getvalue(), "out": out.getvalue()}


if __name__ == "__main__":
    import os

    sys.meta_path.insert(0, Stop())
    os.chdir(sys.argv[1])
    print(json.dumps({name: _run_one(words) for name, words in json.load(sys.stdin).items()}))
