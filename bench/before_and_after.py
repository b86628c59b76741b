"""`python -m bench.before_and_after`: the picture of what an embedding adds, of phantoms alone.

For each held-out finding, rows of real phantoms with it, of images that `builtin` generates without an embedding, and
of images from the same seeds with an embedding of 100 such phantoms. None is chosen. The real phantoms are other ones
than the embedding learned from.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from bench.compositions import paint
from bench.findings import SUBJECTS, Pictures, ask_for, keep_rows, real, studio
from embhub.phantoms.findings import PREFIXES

PICTURE = Path(__file__).parents[1] / "docs/images/before-and-after.png"
FINDINGS = ("prostate-cspca", "cxr-effusion")
COLUMNS, SEED, GAP = 5, 8000, 8


def rows(name: str, columns: int = COLUMNS) -> list[Pictures]:
    """Real, before, after: uint8 (columns, 128, 128, 3) each."""
    subject = SUBJECTS[name]
    before = paint(studio(), PREFIXES[subject.modality][0], columns, SEED)
    with ask_for(subject) as prompt:
        return [real(subject, columns, SEED), before, paint(studio(), prompt, columns, SEED)]


def compose(blocks: list[list[Pictures]]) -> Image.Image:
    """Findings side by side, with a white gap; in each, one row below the other."""
    parts = []
    for block in blocks:
        parts.append(np.concatenate([np.concatenate(list(row), axis=1) for row in block]))
        parts.append(np.full((parts[0].shape[0], GAP, 3), 255, np.uint8))
    return Image.fromarray(np.concatenate(parts[:-1], axis=1))


def main() -> None:
    """Learn both embeddings, or take those that `--rows` keeps, and write the picture."""
    parser = argparse.ArgumentParser(prog="python -m bench.before_and_after", description=__doc__)
    parser.add_argument("--rows", type=Path, metavar="DIR", help="where learned embeddings are kept for other studies")
    parser.add_argument("--out", type=Path, default=PICTURE)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    keep_rows(chosen.rows)
    compose([rows(name) for name in FINDINGS]).save(chosen.out, optimize=True)


if __name__ == "__main__":
    main()
