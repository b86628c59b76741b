"""`embhub research port`: an embedding to another base, without an image of a patient."""

from __future__ import annotations

from pathlib import Path

import click

from embhub.cli import options
from embhub.cli.option_groups import option_group
from embhub.cli.output import note, print_json, print_pairs, progress_bar
from embhub.options.training import Recipe
from embhub.progress import say_loading


@click.command("port", short_help="Move an embedding to another base model.")
@click.argument("source", type=options.FILE, metavar="FILE|FOLDER")
@click.option("--to", required=True, metavar="NAME|PATH|HUB-ID", help="New base model.")
@options.base_option("Old base model  [default: the one that the embedding was made for]")
@click.option(
    "--caption", metavar="TEXT",
    help="Prompt template, {} for the placeholder token  [default: the one that the embedding was trained with]",
)  # fmt: skip
@click.option(
    "--images", type=click.IntRange(2, 4096), default=64, show_default=True, metavar="N",
    help="Number of images to generate and learn from.",
)  # fmt: skip
@click.option(
    "--seed", type=click.IntRange(0, 2**53 - 1), default=0, show_default=True, metavar="N",
    help="Random seed; it is published in the file.",
)  # fmt: skip
@option_group(Recipe, "recipe")
@options.device
@click.option("--overwrite", is_flag=True, help="Overwrite --out if it exists.")
@click.option(
    "--out", required=True, type=options.FILE, metavar="FILE", help="Output embedding file, ending in .safetensors."
)
@options.as_json
def command(
    source: Path, to: str, base: str | None, caption: str | None, images: int, seed: int, recipe: Recipe, device: str,
    out: Path, overwrite: bool, as_json: bool,
) -> None:  # fmt: skip
    """Move an embedding to another base model. No image of a patient is read.

    Images are generated with the embedding on its own base, and an embedding for the new base is learned from them. The
    file names its source by digest. A privacy claim carries over; then the source must be signed, and its signature
    travels with the release. See docs/how-to/port-an-embedding.md for what is checked and what is not.

    \b
    Example:
      embhub research port prostate-csPCa.safetensors --to owner/next-base --out prostate-csPCa-next.safetensors
    """
    from embhub.diffusion.preflight.porting import check_port

    with progress_bar() as on_progress:
        check_port(
            source, to=to, base=base, caption=caption, recipe=recipe, device=device, out=out, overwrite=overwrite
        )
        say_loading(on_progress)
        from embhub.diffusion.outputs import port_to_file

        facts = port_to_file(
            source, to=to, base=base, caption=caption, images=images, seed=seed, recipe=recipe, device=device, out=out,
            overwrite=overwrite, on_progress=on_progress, on_note=note,
        )  # fmt: skip
    from embhub.client.pulling.overview import in_words

    print_json(facts) if as_json else print_pairs(in_words(facts))
