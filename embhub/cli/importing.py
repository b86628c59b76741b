"""`embhub import`: embeddings of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from embhub.cli import options
from embhub.cli.output import print_pairs

FAMILIES = ["sd1", "sd2", "sdxl", "sd3", "flux", "kandinsky22", "kandinsky3", "builtin"]


@click.command("import", short_help="Take over another program's embedding.")
@click.argument("files", type=options.FILE, nargs=-1, required=True, metavar="FILE...")
@click.option("--base-family", type=click.Choice(FAMILIES), help="What it was trained on, where that is not at hand.")
@options.base_option("What it was trained on; its fingerprint goes into the file.")
@click.option("--base-name", metavar="NAME", help="The base as its publisher calls it, like owner/name.")
@click.option("--token", required=True, metavar="WORD", help='Its word from now on, like "<cspca>".')
@click.option(
    "--dtype",
    type=click.Choice(["float16", "float32"]),
    help="Keep the numbers like this  [default: float32 where that fits, float16 for half precision]",
)
@click.option("--overwrite", is_flag=True, help="Write over --out where it is there.")
@click.option("--out", required=True, type=options.FILE, metavar="FILE", help="The embedding, ending in .safetensors.")
def command(files: tuple[Path, ...], out: Path, **choices: Any) -> None:
    """Turn an AUTOMATIC1111, kohya, diffusers or ComfyUI embedding into a publishable one.

    An embedding that lies in one file for each text encoder is read from all of them. A pickle is read with the
    weights-only reader, which runs no code; what that reader refuses is refused. A privacy claim does not come over.

    \b
    Example:
      embhub import prostate_pos.pt --base-family sd2 --token "<cspca>" --out prostate-cspca.safetensors
    """
    from embhub.diffusion.foreign.exchange import import_to_file

    print_pairs(import_to_file(files, out, **choices))
