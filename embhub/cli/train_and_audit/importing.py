"""`embhub import`: embeddings of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from embhub.cli import options
from embhub.cli.output import print_json, print_pairs, progress_bar

FAMILIES = ["sd1", "sd2", "sdxl", "sd3", "flux", "kandinsky22", "kandinsky3", "builtin"]


@click.command("import", short_help="Import an embedding of another program.")
@click.argument("files", type=options.FILE, nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--base-family", type=click.Choice(FAMILIES), help="Family of its base model, if the base itself is not available."
)
@options.base_option("Base model it was trained on; its fingerprint is written into the file.")
@click.option("--base-name", metavar="NAME", help="Published name of the base model, such as owner/name.")
@click.option(
    "--token", required=True, metavar="WORD", help='Placeholder token of the imported embedding, such as "<cspca>".'
)
@click.option(
    "--dtype",
    type=click.Choice(["float16", "float32"]),
    help="Data type of the tensors  [default: float32 if that is exact, float16 for half precision]",
)
@click.option("--overwrite", is_flag=True, help="Overwrite an existing --out.")
@click.option("--out", required=True, type=options.FILE, metavar="FILE", help="Output file, ending in .safetensors.")
@options.as_json
def command(files: tuple[Path, ...], out: Path, as_json: bool, **choices: Any) -> None:
    """Convert an AUTOMATIC1111, kohya, diffusers or ComfyUI embedding into a publishable one.

    If an embedding has one file per text encoder, pass all of them. Pickles are read with torch's weights-only reader,
    which runs no code; anything else in them is refused. A privacy claim is not imported.

    \b
    Example:
      embhub import prostate_pos.pt --base-family sd2 --token "<cspca>" --out prostate-cspca.safetensors
    """
    from embhub.diffusion.foreign.exchange import import_to_file

    with progress_bar() as on_progress:
        facts = import_to_file(files, out, on_progress=on_progress, **choices)
    from embhub.client.pulling.overview import in_words

    print_json(facts) if as_json else print_pairs(in_words(facts))
