"""`embhub dataset`: a labelled data set of drawn images."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from embhub.cli import options
from embhub.cli.output import print_json, print_pairs, progress_bar


@click.command("dataset", short_help="Draw a labelled data set with embeddings.")
@click.argument("config", type=options.FILE, required=False)
@click.option(
    "--class", "classes", multiple=True, metavar='LABEL="PROMPT"', help="A class and its prompt; instead of CONFIG."
)
@click.option(
    "--embedding", "embeddings", multiple=True, metavar="FILE|NS/NAME",
    help="Embedding for the classes whose prompt has its token; several are allowed.",
)  # fmt: skip
@options.base_option("Base model  [default: CONFIG's, or builtin]")
@click.option(
    "--per-class", type=click.IntRange(1, 1_000_000), metavar="N", help="Images of each class  [default: 100]"
)
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), metavar="N", help="Start of all randomness  [default: 0]")
@click.option(
    "--steps", type=click.IntRange(1, 1000), metavar="N", help="Sampling steps  [default: what suits the base]"
)
@click.option(
    "--guidance-scale", type=click.FloatRange(0, 100), metavar="X",
    help="Guidance scale (classifier-free guidance)  [default: depends on the base]",
)  # fmt: skip
@click.option(
    "--no-card", multiple=True, metavar="TOKEN", help="Use this embedding though it has no card: you answer for it."
)
@click.option(
    "--terms-read", multiple=True, metavar="TOKEN",
    help="You read licence and card of this embedding, and they allow it.",
)  # fmt: skip
@options.device
@options.registry
@click.option("--out", required=True, type=options.FILE, metavar="DIR", help="Folder for the data set.")
@options.as_json
def command(out: Path, as_json: bool, **choices: Any) -> None:
    """Draw a data set with a label an image: a class for each prompt, from CONFIG (YAML) or --class.

    Embeddings are verified first, and refused where their licence or card forbids data sets of drawn images. The folder
    gets PNG files, manifest.csv, which every command takes that takes images, croissant.json and a data sheet.
    Interrupted, the same command goes on where it ended, and ends with the same bytes.

    \b
    Example:
      embhub dataset --class csPCa="prostate mri with <cspca>" --class normal="prostate mri, normal" \\
        --embedding radboud/prostate-csPCa --per-class 500 --out drawn
      embhub dataset prostate.yaml --out drawn
    """
    from embhub.diffusion.datasets.making import make_dataset

    with progress_bar() as on_progress:
        made = make_dataset(out, on_progress=on_progress, **choices)
    print_json(asdict(made)) if as_json else print_pairs(made.facts())
