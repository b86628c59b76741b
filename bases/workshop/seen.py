"""`python -m bases.workshop.seen --data DATA`: `seen.json` of `builtin-xray`, whom it was trained on.

The films that it learned from, and those that said when to stop. They are public, so ids and
sketches of them may be shipped: `embhub evaluate` refuses them as test images.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

from bases.workshop.public_images import SETS, rows_seen
from bases.workshop.xray import default_data
from embhub.builtin_bases import info
from embhub.durable import write_atomic
from embhub.images.seen import NAME, Seen
from embhub.images.sketch import sketch

BASE = "builtin-xray"
SOURCE = (
    "Kermany, Zhang, Goldbaum 2018, Mendeley Data V2, doi:10.17632/rscbjbr9sj.2, CC BY 4.0; NIH Clinical Center, "
    "ChestX-ray8"
)


def seen(data: Path) -> Seen:
    """All images that training showed or was stopped by, and their patients."""
    rows, found = rows_seen(data, SETS[BASE]), []
    for source, row in rows:
        with Image.open(data / source.folder / row["path"]) as image:
            found.append(sketch(image))
    return Seen(SOURCE, frozenset(row["patient_id"] for _, row in rows), tuple(found))


def main() -> None:
    """Write the list beside the weights."""
    parser = argparse.ArgumentParser(prog="python -m bases.workshop.seen", description=__doc__)
    parser.add_argument("--data", type=Path, default=default_data(), help="folder with chest-xray/ and chest-xray-nih/")
    write_atomic(info(BASE).path / NAME, seen(parser.parse_args().data).to_bytes())


if __name__ == "__main__":
    main()
