"""`embhub import`: embeddings of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from embhub.cli import options
from embhub.cli.output import print_pairs


@click.command("import", short_help="Take over another program's embedding.")
@click.argument("file", type=options.FILE)
@click.option(
    "--base-family", required=True, type=click.Choice(["sd1", "sd2", "builtin"]), help="What it was trained on."
)
@click.option("--base-name", metavar="NAME", help="The base as its publisher calls it, like owner/name.")
@click.option("--token", required=True, metavar="WORD", help='Its word from now on, like "<cspca>".')
@click.option("--overwrite", is_flag=True, help="Write over --out where it is there.")
@click.option("--out", required=True, type=options.FILE, metavar="FILE", help="The embedding, ending in .safetensors.")
def command(file: Path, out: Path, **choices: Any) -> None:
    """Turn an AUTOMATIC1111, kohya or diffusers embedding into a publishable one.

    A pickle is read with the weights-only reader, which runs no code; what that reader refuses is refused.

    \b
    Example:
      embhub import prostate_pos.pt --base-family sd2 --token "<cspca>" --out prostate-cspca.safetensors
    """
    from embhub.diffusion.outputs import import_to_file

    print_pairs(import_to_file(file, out, **choices))
