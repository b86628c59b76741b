"""See it: pull a signed embedding from a registry, verify it, and generate images with it.

    python -m examples.see_it [--out see-it] [-n 6]

The registry and both hospitals live on this machine and end with the command. The embedding is the one in
`examples/embeddings`, learned from real chest X-rays with differential privacy. Nothing is downloaded.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from examples.demo.cast import CommandFailed, Hospital, served
from examples.demo.page import sheet
from examples.demo.scenario import read_folder
from examples.demo.story import NAMESPACE, SHIPPED, publish_shipped, settle
from examples.demo.xray_play import WORDS

SEED = "7000"


def main(words: list[str] | None = None) -> int:
    """Play it; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("see-it"), help="folder for see-it.png and the pulled release")
    parser.add_argument("-n", type=int, default=6, help="images per row")
    chosen = parser.parse_args(words)
    began = time.monotonic()
    try:
        with tempfile.TemporaryDirectory() as work:
            picture = play(Path(work), chosen.out, number=chosen.n)
    except CommandFailed as error:
        print(error, file=sys.stderr)
        return 1
    print(
        f"\n{picture}: chest X-rays without the embedding (top) and with it (bottom), from the same seeds\n"
        f"{chosen.out / SHIPPED.stem}: the release as it was pulled and verified\n"
        f"{time.monotonic() - began:.0f} s"
    )
    return 0


def play(work: Path, out: Path, *, number: int) -> Path:
    """From the registry's start to the picture; returns its path."""
    sites = [work / "hospital-a", work / "hospital-b"]
    sites[1].mkdir()
    with served(work / "registry", work / "registry.log") as registry:
        publish_shipped(settle(sites[0], registry))
        receiver = Hospital("hospital B", sites[1], registry.url)
        receiver.embhub("trust", "add", registry.url, "--fingerprint", registry.root_fingerprint())
        receiver.embhub("pull", f"{NAMESPACE}/{SHIPPED.stem}")
        # The mark depends on the embedding: without it, both rows start from the same noise.
        options = ["--base", WORDS.base, "-n", str(number), "--seed", SEED, "--no-mark"]
        prompt = WORDS.caption.replace("{}", WORDS.token)
        receiver.embhub("generate", WORDS.caption.replace(", {}", ""), *options, "--out", "without")
        receiver.embhub("generate", prompt, "--embedding", SHIPPED.stem, *options, "--out", "with")
    out.mkdir(parents=True, exist_ok=True)
    shutil.copytree(sites[1] / SHIPPED.stem, out / SHIPPED.stem, dirs_exist_ok=True)
    rows = [np.asarray(sheet(read_folder(sites[1] / name), columns=number)) for name in ("without", "with")]
    picture = out / "see-it.png"
    Image.fromarray(np.concatenate(rows)).save(picture)
    return picture


if __name__ == "__main__":
    raise SystemExit(main())
