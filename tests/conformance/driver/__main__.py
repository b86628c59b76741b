"""Run every call, in order, and print name -> outcome as JSON; the first argument is a JSON file with the stage."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import huggingface_hub

from .listed import CALLS
from .stage import Stage, perform


def main() -> None:
    """Play all calls on the stage that the file describes."""
    told = json.loads(Path(sys.argv[1]).read_text())
    stage = Stage(told["endpoint"], told["tokens"], Path(told["release"]), Path(told["scratch"]))
    outcomes = {wanted.name: perform(stage, wanted) for wanted in CALLS}
    print(json.dumps({"version": huggingface_hub.__version__, "outcomes": outcomes}))


main()
