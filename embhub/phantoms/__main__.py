"""`python -m embhub.phantoms OUT --finding prostate-cspca --images 140 --patients 70 --seed 1`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from embhub.phantoms.dataset import write_dataset
from embhub.phantoms.findings import HELD_OUT


def main(argv: Sequence[str] | None = None) -> int:
    """Write a data set of phantoms and print the path of its manifest; 2 on arguments that do not fit."""
    parser = argparse.ArgumentParser(prog="python -m embhub.phantoms", description="Write a folder of phantom images.")
    parser.add_argument("out", help="folder to write into")
    parser.add_argument("--finding", choices=sorted(HELD_OUT), default="prostate-cspca")
    parser.add_argument("--images", type=int, default=140, help="images that show the finding")
    parser.add_argument("--patients", type=int, default=70, help="patients those images come from")
    parser.add_argument("--normals", type=int, default=0, help="further images that show nothing")
    parser.add_argument("--others", type=int, default=0, help="further images that show a look-alike")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(argv)
    try:
        manifest = write_dataset(
            chosen.out,
            chosen.finding,
            images=chosen.images,
            patients=chosen.patients,
            seed=chosen.seed,
            normals=chosen.normals,
            others=chosen.others,
        )
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write(f"{manifest}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
