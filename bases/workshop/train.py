"""Train the 64-pixel base of phantoms from nothing: `python -m bases.workshop.train builtin --out DIR`.

`run` trains the bases of 128 pixels.
Seeded and counted in steps, so that a run is the same however busy the machine. The state is saved every two minutes
under `--work`; after a crash the same command with `--resume` goes on from there.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from bases.workshop import stages
from bases.workshop.corpus import phantoms
from bases.workshop.export import export
from bases.workshop.facts import facts
from bases.workshop.text_encoder import CaptionEncoder, make_encoder, make_tokenizer
from embhub.errors import EmbhubError

DEFAULT_STEPS = {"builtin": (1600, 7000)}
PHANTOMS = 20_000


def train(
    name: str,
    out: Path,
    *,
    work: Path,
    settings: stages.Settings,
    phantom_count: int = PHANTOMS,
    report: stages.Report = print,
) -> Path:
    """Train base `name` into the pipeline folder `out`, going on from what `work` holds; returns `out`."""
    corpus = phantoms(phantom_count, settings.seed)
    report(f"{name}: {len(corpus.images)} images")
    tokenizer = make_tokenizer(work / "tokenizer", corpus.vocabulary)
    encoder = make_encoder(tokenizer, settings.seed)
    encode = CaptionEncoder(tokenizer, encoder)
    model = stages.train_autoencoder(corpus, settings, work / "autoencoder", report)
    unet, average = stages.train_denoiser(corpus, model, encode, settings, work / "denoiser", report)
    export(
        out, tokenizer=tokenizer, encoder=encoder, autoencoder=model, denoiser=unet, average=average, facts=facts(name)
    )
    return out


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, train, print the folder; the error's exit code where it cannot."""
    parser = argparse.ArgumentParser(prog="python -m bases.workshop.train", description="Train a built-in base.")
    parser.add_argument("name", choices=sorted(DEFAULT_STEPS))
    parser.add_argument("--out", type=Path, required=True, help="pipeline folder to write")
    parser.add_argument("--work", type=Path, help="folder of checkpoints (default: OUT with .work added)")
    parser.add_argument("--autoencoder-steps", type=int)
    parser.add_argument("--steps", type=int, help="steps of the denoiser")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compile", action="store_true", help="train the denoiser through torch.compile")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoints instead of starting afresh")
    chosen = parser.parse_args(argv)
    torch.set_num_threads(chosen.threads)
    first, second = DEFAULT_STEPS[chosen.name]
    settings = stages.Settings(
        chosen.autoencoder_steps or first,
        chosen.steps or second,
        batch=chosen.batch,
        seed=chosen.seed,
        compiled=chosen.compile,
    )
    work = chosen.work or chosen.out.with_name(chosen.out.name + ".work")
    if not chosen.resume:
        shutil.rmtree(work, ignore_errors=True)
    began = time.monotonic()

    def report(line: str) -> None:
        print(f"{time.monotonic() - began:7.0f} s  {line}", file=sys.stderr, flush=True)

    try:
        print(train(chosen.name, chosen.out, work=work, settings=settings, report=report))
    except EmbhubError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
