"""A site of a study, or its coordinator, as a process: `python -m tests.support.study_machine PART DIGEST KIT`.

It is what `embhub study join --kit` and `embhub study finish` run, without a registry: all have joined, and nobody
withdrew.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

from embhub.diffusion.studies import joining, seats


def main(part: str, digest: str, kit: str) -> None:
    """Take part as `site`, or run the study as `coordinator`, whose KIT is the folder of all."""
    _, study, keys = seats._open(digest, "coordinator" if part == "coordinator" else "site")
    found = SimpleNamespace(plan=study, keys=keys, missing=(), joins=keys, record=lambda _signed: b"{}")
    joining._open_study = lambda *_: found  # type: ignore[assignment]
    if part == "coordinator":
        joining.finish(digest, Path(kit) / "finding.safetensors", Path(kit), registry=None)
    else:
        joining.take_part(digest, Path(kit), registry=None, look=0.1, linger=1.0)


if __name__ == "__main__":
    main(*sys.argv[1:])
