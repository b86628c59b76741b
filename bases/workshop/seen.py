"""`python -m bases.workshop.seen --data DATA`: `seen.json` of `builtin-xray`, whom it was trained on.

The films that it learned from, and those that said when to stop. They are public (CC BY 4.0, see `xray`), so ids and
sketches of them may be shipped: `embhub evaluate` refuses them as test images.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from PIL import Image

from bases.workshop import xray
from embhub.builtin_bases import info
from embhub.durable import write_atomic
from embhub.images.seen import NAME, Seen
from embhub.images.sketch import sketch

BASE = "builtin-xray"
SOURCE = "Kermany, Zhang, Goldbaum 2018, Mendeley Data V2, doi:10.17632/rscbjbr9sj.2, CC BY 4.0"


def seen(data: Path) -> Seen:
    """All normal films of the parts `base` and `site`, and their patients."""
    parts, folder = xray.split(), data / "chest-xray"
    with (folder / "index.csv").open(encoding="utf-8", newline="") as file:
        rows = [
            row
            for row in csv.DictReader(file)
            if parts[row["patient_id"]] in ("base", "site") and row["label"] == xray.TAUGHT
        ]
    found = []
    for row in rows:
        with Image.open(folder / row["path"]) as image:
            found.append(sketch(image))
    return Seen(SOURCE, frozenset(row["patient_id"] for row in rows), tuple(found))


def main() -> None:
    """Write the list beside the weights."""
    parser = argparse.ArgumentParser(prog="python -m bases.workshop.seen", description=__doc__)
    parser.add_argument("--data", type=Path, default=xray.default_data(), help="folder with chest-xray/")
    write_atomic(info(BASE).path / NAME, seen(parser.parse_args().data).to_bytes())


if __name__ == "__main__":
    main()
