"""`embhub export`: an embedding for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from embhub.cli import options
from embhub.cli.output import print_json, print_pairs, remark

PROGRAMS = ["diffusers", "a1111", "kohya", "comfyui", "invokeai", "forge"]


@click.command("export", short_help="Write an embedding for another program.")
@click.argument("file", type=options.FILE)
@click.option("--to", required=True, type=click.Choice(PROGRAMS), help="The program that shall load it.")
@click.option("--out", type=options.FILE, metavar="FOLDER", help="Where the files go  [default: named as the program]")
@click.option(
    "--dtype", type=click.Choice(["float16", "float32"]), help="Write the numbers like this  [default: as they are]"
)
@click.option("--overwrite", is_flag=True, help="Write over files that are there.")
@options.as_json
def command(file: Path, as_json: bool, **choices: Any) -> None:
    """Write the files that another program loads, under the names that its prompts use.

    Most programs take an embhub file as it is and get a copy of it. The signature stays behind in every case: verify
    here, before you export, and keep the original to show what you use.

    \b
    Example:
      embhub export prostate-cspca.safetensors --to comfyui
    """
    from embhub.diffusion.foreign.exchange import export_to_folder

    facts = export_to_folder(file, **choices)
    if warning := facts.pop("warning"):
        remark(f"warning: {warning}")
    print_json(facts) if as_json else print_pairs(facts | {"wrote": ", ".join(facts["wrote"])})
