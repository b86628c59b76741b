"""`embhub generate`: draw images with embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from embhub.cli import options
from embhub.cli.output import print_json, print_pairs, progress_bar


@click.command("generate", short_help="Draw images with embeddings.")
@click.argument("prompt")
@click.option(
    "--embedding",
    "embeddings",
    multiple=True,
    metavar="FILE|NS/NAME",
    help="Embedding to plug in; several are allowed.",
)
@options.base
@click.option(
    "-n",
    "--number",
    "n",
    type=click.IntRange(1, 100_000),
    metavar="N",
    default=8,
    show_default=True,
    help="Images to draw.",
)
@options.seed
@click.option(
    "--steps", type=click.IntRange(1, 1000), metavar="N", help="Sampling steps  [default: what suits the base]"
)
@click.option(
    "--guidance",
    type=click.FloatRange(0, 100),
    metavar="X",
    help="How hard to follow the prompt  [default: what suits the base]",
)
@options.device
@options.registry
@click.option("--out", required=True, type=options.FILE, metavar="DIR", help="Folder for the images and manifest.json.")
@options.as_json
def command(prompt: str, out: Path, as_json: bool, **choices: Any) -> None:
    """Draw images of PROMPT with a base model and the words that the embeddings bring.

    NS/NAME is pulled and verified first, and a FILE with signatures beside it is verified; one without is used with a
    warning. The base must be the one that the embedding was trained on, or a fine-tune of
    it; anything else is refused. manifest.json keeps seed, prompt and digests, so that a picture can be drawn again.

    \b
    Example:
      embhub generate "axial t2 prostate mri, <cspca>" --embedding radboud/prostate-csPCa -n 8 --out samples
    """
    from embhub.diffusion.outputs import generate_to_folder

    with progress_bar() as on_progress:
        facts = generate_to_folder(prompt, out, on_progress=on_progress, **choices)
    print_json(facts) if as_json else print_pairs(facts)
