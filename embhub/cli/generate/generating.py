"""`embhub generate`: generate images with embeddings, new ones or redrawn ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from embhub.cli import options
from embhub.cli.option_groups import option_group
from embhub.cli.output import print_json, print_pairs, progress_bar
from embhub.cli.whole_help import SectionedCommand
from embhub.options.fields import options_of
from embhub.options.redrawing import Redrawing
from embhub.options.sampling import Sampling

SECTIONS = {
    "Options": ("embeddings", "base", "n", "seed", "also", "negative", "negative_embeddings", "out"),
    "Redraw images of yours": tuple(options_of(Redrawing)),
    "Interpolation": ("interpolate_to", "slerp_to", "series"),
    "Sampling": ("steps", "guidance_scale", "resolution", *options_of(Sampling)),
}
"""Names of parameters in the order of `--help`."""


@click.command(
    "generate", cls=SectionedCommand, sections=SECTIONS, short_help="Generate images with embeddings, or redraw some."
)
@click.argument("prompt", required=False)
@options.also
@options.embeddings
@options.base_made_for
@options.number
@options.seed
@options.sampling_steps
@options.guidance_scale
@options.resolution
@options.negative
@options.negative_embeddings
@click.option("--interpolate-to", metavar="PROMPT", help="Interpolate from PROMPT to this prompt.")
@click.option("--slerp-to", metavar="FILE|NS/NAME", help="Interpolate (slerp) from --embedding to a related embedding.")
@click.option(
    "--series", type=click.IntRange(2, 101), metavar="N", help="Number of interpolation points, both ends included  [5]"
)
@option_group(Redrawing, "redrawing")
@option_group(Sampling, "sampling")
@options.dicom_copies
@options.c2pa("Write a C2PA manifest into each image")
@options.device
@options.registry
@click.option(
    "--out", required=True, type=options.FILE, metavar="DIR", help="Output folder for the images and manifest.json."
)
@options.as_json
def command(
    prompt: str | None, also: tuple[str, ...], embeddings: tuple[str, ...], registry: str | None, out: Path,
    negative: str | None, negative_embeddings: tuple[str, ...], as_json: bool, redrawing: Redrawing, n: int | None,
    **choices: Any,
) -> None:  # fmt: skip
    """Generate images for PROMPT with a base model and the placeholder tokens of the embeddings.

    NS/NAME is pulled and verified first. A FILE with signatures beside it is verified; one without is used with a
    warning. The base must be the one that the embedding was trained on, or a fine-tune of it; anything else is
    refused. The file manifest.json records seed, prompt and digests, so that an image can be reproduced.

    With --and several prompts are composed into one image. Weights that add up to 1 interpolate between the prompts;
    weights of 1 each show all of them. The options --interpolate-to and --slerp-to generate a series at weights from
    0 to 1, and series.png shows it on one sheet.

    With --from, images of yours are redrawn: all of each from its noised latents, or a place in it. Beyond the border
    of a place every pixel stays what it was, bit for bit. With --fit crop a place must be in the central square, and
    of a whole image that square is redrawn. What is written is still a patient's image: readable by you alone, named
    by number; no file's name is kept.

    \b
    Example:
      embhub generate "axial t2 prostate mri, <cspca>" --embedding radboud/prostate-csPCa -n 8 --out samples
      embhub generate "prostate mri, normal:0.3" --and "prostate mri, <cspca>:0.7" --embedding cspca --out samples
      embhub generate "prostate mri, normal" --interpolate-to "prostate mri, <cspca>" --embedding cspca --out series
      embhub generate "prostate mri, <cspca>" --from healthy.png --box 26,36,14,12 --embedding cspca --out inserted
    """
    from embhub.diffusion.generation.image_files import Ask, generate_to_folder

    ask = Ask((*([prompt] if prompt is not None else []), *also), embeddings, registry, negative, negative_embeddings)
    choices |= {"n": n} if n is not None else {}
    with progress_bar() as on_progress:
        choices["on_progress"] = on_progress
        if redrawing.source is None:
            facts = generate_to_folder(ask, out, **choices)
        else:
            from embhub.diffusion.generation.redrawn_files import redraw_to_folder

            facts = redraw_to_folder(ask, redrawing, out, **choices)
    print_json(facts) if as_json else print_pairs(facts)
