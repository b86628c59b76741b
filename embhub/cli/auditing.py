"""`embhub audit`: how much does the embedding tell about its training images?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from embhub.cli import options
from embhub.cli.output import print_json, print_pairs, progress_bar


@click.command("audit", short_help="Attack an embedding to see what it tells.")
@click.argument("file", type=options.FILE)
@click.option(
    "--members", type=options.FILE, metavar="IMAGES", help="Images trained on  [default: what `train` remembers]"
)
@click.option(
    "--nonmembers", type=options.FILE, metavar="IMAGES", help="Images held back  [default: what `train` remembers]"
)
@click.option(
    "--suite",
    type=click.Choice(["quick", "standard"]),
    default="quick",
    show_default=True,
    help="standard trains shadow embeddings: hours.",
)
@click.option(
    "--shadows",
    type=click.IntRange(2, 512),
    metavar="N",
    default=8,
    show_default=True,
    help="References, and as many targets, of the standard suite; more see more.",
)
@click.option("--base", metavar="NAME|PATH|HUB-ID", help="Base model  [default: the one trained on]")
@options.seed
@options.device
@click.option(
    "--out", type=options.FILE, metavar="FILE", help="The report  [default: STEM.audit.json beside the embedding]"
)
@click.option(
    "--html",
    type=options.FILE,
    metavar="FILE",
    help="The page with the curves  [default: STEM.audit.html beside the report]",
)
@options.as_json
def command(file: Path, as_json: bool, **choices: Any) -> None:
    """Attack the embedding in FILE to see whether it tells members from others.

    Writes a JSON report, which `sign` and `push` take along, and an HTML page with the ROC curves. The quick suite
    finds gross leaks only: a clean quick report is not evidence of safety.

    \b
    Example:
      embhub audit prostate-csPCa.safetensors
      embhub audit prostate-csPCa.safetensors --members train --nonmembers heldout --suite standard
    """
    from embhub.diffusion.outputs import audit_to_file

    with progress_bar() as on_progress:
        report, facts = audit_to_file(file, on_progress=on_progress, **choices)
    print_json(report.model_dump(mode="json", by_alias=True)) if as_json else print_pairs(facts)
