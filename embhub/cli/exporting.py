"""`embhub export`: an embedding for other programs."""

from __future__ import annotations

from typing import Any

import click

from embhub.cli import options
from embhub.cli.output import print_json, print_pairs, progress_bar, remark

PROGRAMS = ["diffusers", "a1111", "kohya", "comfyui", "invokeai", "forge"]


@click.command("export", short_help="Export an embedding to another program.")
@click.argument("target", metavar="FILE|NS/NAME")
@click.option("--to", required=True, type=click.Choice(PROGRAMS), help="Target program.")
@click.option("--out", type=options.FILE, metavar="FOLDER", help="Output folder  [default: the name of the program]")
@click.option(
    "--dtype", type=click.Choice(["float16", "float32"]), help="Data type of the tensors  [default: unchanged]"
)
@click.option("--overwrite", is_flag=True, help="Overwrite existing files.")
@options.registry
@options.as_json
def command(target: str, as_json: bool, **choices: Any) -> None:
    """Write the files that another program loads, under the names that its prompts use.

    NS/NAME is pulled and verified first; a FILE with signatures beside it is verified. Most programs load an embhub
    file unchanged and get a copy of it. Signatures are never exported: keep the original as evidence of what you use.

    \b
    Example:
      embhub export prostate-cspca.safetensors --to comfyui
      embhub export radboud/prostate-cspca --to a1111 --out embeddings
    """
    from embhub.diffusion.foreign.exchange import export_to_folder

    with progress_bar() as on_progress:
        facts = export_to_folder(target, on_progress=on_progress, **choices)
    if warning := facts.pop("warning"):
        remark(f"warning: {warning}")
    print_json(facts) if as_json else print_pairs(facts | {"wrote": ", ".join(facts["wrote"])})
