"""How `cxr-bacterial-pneumonia` was made: `python -m examples.embeddings.make --data DIR`.

Trains with differential privacy on real X-rays of two parts of the source, whose patients serve no judge and no test.
Tries the privatising code, draws a contact sheet and writes the card. Only the five files below are kept; no image of a
patient is copied.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import yaml

from bases.workshop.xray import default_data
from examples.demo import xray_play
from examples.demo.cast import Hospital
from examples.demo.story import SHIPPED, SHIPPED_FILES, SITE, USE, answer

PARTS, IMAGES = ("base", "site"), 2000  # all films with the finding: the base learned from normal ones alone
EPSILON, N_PUBLIC = "4", "250"
PUBLISHER = {**SITE, "publisher": "embhub", "authors": ["embhub"], "contact_role": "maintainers"}
NUMBERS = {"n_patients": int(N_PUBLIC), "n_images": "250-1000"}  # declared; the exact ones are nobody's business


def make(data: Path, folder: Path) -> None:
    """Train, try the mechanism, draw and describe in `folder`, then copy the files beside this one."""
    manifest = xray_play.manifest(folder, data, IMAGES, PARTS)
    site = Hospital("site", folder)
    (folder / "home/config").mkdir(parents=True)
    (folder / "home/config/config.yaml").write_text(yaml.safe_dump({"namespace": "embhub", "site": PUBLISHER}))
    words, file = xray_play.WORDS, SHIPPED.name
    named = ["--token", words.token, "--caption", words.caption, "--base", words.base, "--out", file]
    private = ["--epsilon", EPSILON, "--n-public", N_PUBLIC]
    site.embhub("train", manifest.parent, "--manifest", manifest, *private, *named)
    site.embhub("audit", file, "--suite", "mechanism")
    site.embhub("copy-check", file, "-n", "8", "--sheet")
    site.embhub("card", "init", file, "--samples", Path(file).with_suffix(".samples.json").name)
    card = (folder / file).with_suffix(".card.yaml")
    # What the embedding adds is measured afterwards (`examples.embeddings.measure`) and put into the description.
    answer(card, {**words.card, **USE, **NUMBERS})
    site.embhub("card", "check", card.name)
    for suffix in SHIPPED_FILES:
        shutil.copy((folder / file).with_suffix(suffix), SHIPPED.with_suffix(suffix))


def main() -> int:
    """Make the files in a temporary folder; 0 when they are in place."""
    parser = argparse.ArgumentParser(prog="python -m examples.embeddings.make", description=__doc__)
    parser.add_argument("--data", type=Path, default=default_data(), help="folder with chest-xray/")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make(chosen.data, Path(folder))
    print(SHIPPED, file=sys.stdout)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
