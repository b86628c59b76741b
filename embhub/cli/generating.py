"""`embhub generate`: draw images with embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from embhub.cli import options
from embhub.cli.output import print_json, print_pairs, progress_bar


@click.command("generate", short_help="Draw images with embeddings.")
@click.argument("prompt", required=False)
@options.also
@options.embeddings
@options.base
@options.number("Images to draw; rows of a series.", default=8)
@options.seed
@options.sampling_steps
@options.guidance_scale
@click.option("--interpolate-to", metavar="PROMPT", help="Draw a series on the way from PROMPT to this one.")
@click.option("--slerp-to", metavar="FILE|NS/NAME", help="Draw a series on the way from --embedding to its sibling.")
@click.option("--series", type=click.IntRange(2, 101), metavar="N", help="Images of a series, both ends too  [5]")
@options.device
@options.registry
@click.option("--out", required=True, type=options.FILE, metavar="DIR", help="Folder for the images and manifest.json.")
@options.as_json
def command(
    prompt: str | None, also: tuple[str, ...], embeddings: tuple[str, ...], registry: str | None, out: Path,
    as_json: bool, **choices: Any,
) -> None:  # fmt: skip
    """Draw images of PROMPT with a base model and the words that the embeddings bring.

    NS/NAME is pulled and verified first, and a FILE with signatures beside it is verified; one without is used with a
    warning. The base must be the one that the embedding was trained on, or a fine-tune of
    it; anything else is refused. manifest.json keeps seed, prompt and digests, so that a picture can be drawn again.

    With --and several prompts make one picture, each as much as its weight says: weights that add up to 1 go between
    the prompts, weights of 1 each show them all. --interpolate-to and --slerp-to draw a series at weights from 0 to 1,
    and series.png shows it on one sheet.

    \b
    Example:
      embhub generate "axial t2 prostate mri, <cspca>" --embedding radboud/prostate-csPCa -n 8 --out samples
      embhub generate "prostate mri, normal:0.3" --and "prostate mri, <cspca>:0.7" --embedding cspca --out samples
      embhub generate "prostate mri, normal" --interpolate-to "prostate mri, <cspca>" --embedding cspca --out series
    """
    from embhub.diffusion.drawing.image_files import Ask, generate_to_folder

    ask = Ask((*([prompt] if prompt is not None else []), *also), embeddings, registry)
    with progress_bar() as on_progress:
        facts = generate_to_folder(ask, out, on_progress=on_progress, **choices)
    print_json(facts) if as_json else print_pairs(facts)
