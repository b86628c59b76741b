"""How `cxr-bacterial-pneumonia` was made: `python -m examples.embeddings.make --data DIR`.

Trains on 100 real X-rays of one patient-disjoint part of the source, audits with the standard suite against patients
kept back, writes the card. Only the three files below are kept; no image is copied.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import yaml

from embhub.diffusion.base.train import default_data
from examples.demo import xray_play
from examples.demo.cast import Hospital
from examples.demo.story import SHIPPED, SITE, USE, answer

IMAGES = 144  # 100 or so to learn from, the others' patients kept back for the audit
PUBLISHER = {**SITE, "publisher": "embhub", "authors": ["embhub"], "contact_role": "maintainers"}


def make(data: Path, folder: Path, suite: str) -> None:
    """Train, audit and describe in `folder`, then copy the three files beside this one."""
    manifest = xray_play.manifest(folder, data, IMAGES)
    site = Hospital("site", folder)
    (folder / "home/config").mkdir(parents=True)
    (folder / "home/config/config.yaml").write_text(yaml.safe_dump({"namespace": "embhub", "site": PUBLISHER}))
    words, file = xray_play.WORDS, SHIPPED.name
    named = ["--token", words.token, "--caption", words.caption, "--base", words.base, "--seed", "1", "--out", file]
    site.embhub("train", manifest.parent, "--manifest", manifest, "--holdout", "0.3", *named)
    site.embhub("audit", file, "--suite", suite, "--shadows", "4")
    site.embhub("card", "init", file)
    card = (folder / file).with_suffix(".card.yaml")
    answer(card, {**words.card, **USE})
    site.embhub("card", "check", card.name)
    for suffix in (".safetensors", ".card.yaml", ".audit.json"):
        shutil.copy((folder / file).with_suffix(suffix), SHIPPED.with_suffix(suffix))


def main() -> int:
    """Make the files in a temporary folder; 0 when they are in place."""
    parser = argparse.ArgumentParser(prog="python -m examples.embeddings.make", description=__doc__)
    parser.add_argument("--data", type=Path, default=default_data(), help="folder with chest-xray/")
    parser.add_argument("--suite", default="standard", choices=("quick", "standard"))
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make(chosen.data, Path(folder), chosen.suite)
    print(SHIPPED, file=sys.stdout)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
