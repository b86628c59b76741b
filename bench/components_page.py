"""The table and the picture of docs/explanation/which-component.md, written from the study's results, never by hand.

`python -m bench.components_page`; with `--work DIR` the picture is drawn anew from the arms' pictures as well.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from PIL import Image

from bench import marked
from bench.components import ARMS, CLASSES, RESULTS

ROOT = Path(__file__).parents[1]
PAGE, PICTURE = ROOT / "docs/explanation/which-component.md", ROOT / "docs/images/components.png"
FLOOR = "real films of other patients"
SHOWN = 3
Row = Mapping[str, Any]
_HEAD = ("learns", "weights", "KID", "agreement: normal", "agreement: pneumonia", "nearest", "decoder, dB", "seconds")


def compose(study: Mapping[str, Any]) -> str:
    """The table, what is not measured yet, and the machine."""
    groups = {arm: [row for row in study["rows"] if row["arm"] == arm] for arm in (FLOOR, *(arm.name for arm in ARMS))}
    lines = [f"| {' | '.join(_HEAD)} |", "|---" * len(_HEAD) + "|"]
    lines += [_line(arm, group) for arm, group in groups.items() if group]
    if missing := [arm for arm, group in groups.items() if not group]:
        lines += ["", f"Not measured yet: {', '.join(missing)}."]
    seeds = max(len(group) for group in groups.values())
    machine = ", ".join(study["settings"]["machine"][name] for name in ("processor", "busy before the run"))
    lines += ["", f"Trainings of each arm: {seeds}. Machine: {machine}."]
    return "\n".join(lines) + "\n"


def _line(arm: str, group: Sequence[Row]) -> str:
    first = group[0]
    cells = [
        arm,
        f"{first['weights']:,}" if "weights" in first else "",
        f"{fmean(row['kid']['mean'] for row in group):.2f} ({fmean(row['kid']['sd'] for row in group):.2f})",
        f"{fmean(row['called_normal_of_normal'] for row in group):.0%}",
        f"{fmean(row['called_pneumonia_of_pneumonia'] for row in group):.0%}",
        f"{fmean(row['nearest_taught'] for row in group):.2f}",
        f"{first['autoencoder_db']}" if "autoencoder_db" in first else "",
        f"{fmean(row['seconds'] for row in group):.0f}" if first.get("seconds") else "",
    ]
    return f"| {' | '.join(cells)} |"


def draw(work: Path) -> None:
    """A strip an arm, in the table's order: the first pictures of either class side by side, none chosen."""
    strips: list[np.ndarray[Any, Any]] = []
    for arm in ARMS:
        path = work / f"{arm.name}-0.npz"
        if path.exists():
            with np.load(path) as drawn:
                halves = [np.concatenate(list(drawn[name][:SHOWN]), 1) for name in CLASSES]
            gap = np.full((halves[0].shape[0], 8, 3), 255, np.uint8)
            strips.append(np.concatenate([halves[0], gap, halves[1]], 1))
            strips.append(np.full((6, strips[0].shape[1], 3), 255, np.uint8))
    Image.fromarray(np.concatenate(strips[:-1])).save(PICTURE, optimize=True)


def main(argv: Sequence[str] | None = None) -> None:
    """Write the table into the page, and the picture where the arms' pictures are."""
    parser = argparse.ArgumentParser(prog="python -m bench.components_page", description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--work", type=Path, help="folder with the pictures of the arms")
    chosen = parser.parse_args(argv)
    if chosen.work:
        draw(chosen.work)
    study = json.loads(chosen.results.read_text(encoding="utf-8"))
    PAGE.write_text(marked.put(PAGE.read_text(encoding="utf-8"), compose(study)), encoding="utf-8")


if __name__ == "__main__":
    main()
