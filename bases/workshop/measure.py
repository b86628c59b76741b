"""Measure a built-in base and write what was counted into its card: `python -m bases.workshop.measure NAME`.

Every figure is reported, misses included; what is counted stands in `varied_gate` (phantoms) and `xray_gate`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from bases.workshop.card import write_card
from bases.workshop.counting import Pictures
from bases.workshop.varied_gate import SAMPLES, check_copies, measure_taught, measure_varied
from bases.workshop.xray import default_data
from bases.workshop.xray_copies import check_films
from bases.workshop.xray_gate import measure_xray
from embhub.builtin_bases import NAMES, info
from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.errors import EmbhubError


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write base.json and README.md of the base, and grids of what was counted where `--grids` says."""
    parser = argparse.ArgumentParser(prog="python -m bases.workshop.measure", description="Measure a base.")
    parser.add_argument("name", help=f"{' or '.join(NAMES)}, or a folder that `run` exported")
    parser.add_argument("--data", type=Path, default=default_data(), help="folder with chest-xray/ (X-rays only)")
    parser.add_argument("--grids", type=Path, help="folder for pictures of everything that was counted")
    parser.add_argument("--samples", type=int, default=SAMPLES, help="images of each prompt (phantoms only)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--copies-only", action="store_true", help="only compare with what the base saw again")
    parser.add_argument("--taught-only", action="store_true", help="only read taught prompts again (phantoms only)")
    parser.add_argument("--card-only", action="store_true", help="write README.md anew from the figures there are")
    chosen = parser.parse_args(argv)
    torch.set_num_threads(chosen.threads)

    def report(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    def keep(label: str, pictures: Pictures) -> None:
        if chosen.grids:
            _grid(chosen.grids / f"{label.replace(' ', '-').replace(',', '')}.png", pictures)

    try:
        base = info(chosen.name)
        path = base.path / "base.json"
        facts = json.loads(path.read_text(encoding="utf-8"))
        if not chosen.card_only:
            if chosen.taught_only:
                facts["figures"] |= measure_taught(base, load_pipeline(base.path), report, keep, chosen.samples)
            elif chosen.copies_only and base.name == "builtin":
                facts["figures"]["copies"] = check_copies(base, load_pipeline(base.path))
            elif chosen.copies_only:
                facts["figures"]["copies"] = check_films(base, load_pipeline(base.path), chosen.data, report, keep)
            elif base.name == "builtin":
                facts["figures"] = measure_varied(base, report, keep, chosen.samples)
            else:
                facts["figures"] = measure_xray(base, chosen.data, report, keep)
        path.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        print(write_card(info(base.path)))
    except EmbhubError as error:
        report(f"error: {error}")
        return error.exit_code
    return 0


def _grid(path: Path, pictures: Pictures, columns: int = 12) -> None:
    from PIL import Image

    padded = np.pad(pictures, ((0, 0), (1, 1), (1, 1), (0, 0)))
    rows = [np.concatenate(list(padded[first : first + columns]), 1) for first in range(0, len(padded), columns)]
    image = Image.fromarray(np.concatenate([row for row in rows if row.shape == rows[0].shape]))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.resize((image.width * 2, image.height * 2), Image.Resampling.NEAREST).save(path)


if __name__ == "__main__":
    raise SystemExit(main())
