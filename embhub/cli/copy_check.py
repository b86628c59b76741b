"""`embhub copy-check`: is what an embedding draws a copy of an image that it was trained on?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from embhub.cli import options
from embhub.cli.output import print_json, print_pairs, progress_bar


@click.command("copy-check", short_help="Compare drawn images with the training images.")
@click.argument("file", type=options.FILE)
@click.option(
    "--samples", type=options.FILE, metavar="DIR", help="Drawn images to check  [default: draw some into STEM.samples]"
)
@click.option(
    "-n", "--number", "n", type=click.IntRange(1, 10_000), metavar="N", default=8, show_default=True,
    help="Images to draw where no --samples are named.",
)  # fmt: skip
@click.option("--prompt", metavar="TEXT", help="What to draw, {} for the token  [default: the training's caption]")
@options.seed
@click.option(
    "--members", type=options.FILE, metavar="IMAGES", help="Images trained on  [default: what `train` remembers]"
)
@click.option(
    "--nonmembers", type=options.FILE, metavar="IMAGES", help="Images held back  [default: what `train` remembers]"
)
@options.base_trained_on
@click.option(
    "--alpha", type=click.FloatRange(0, 1, min_open=True, max_open=True), metavar="X", default=0.05, show_default=True,
    help="Chance that any image is suspected though none is a copy.",
)  # fmt: skip
@options.device
@click.option(
    "--out", type=options.FILE, metavar="FILE", help="The report  [default: STEM.copies.json beside the embedding]"
)
@click.option("--html", type=options.FILE, metavar="FILE", help="The page  [default: STEM.copies.html]")
@click.option("--show-pairs", is_flag=True, help="Put patients' images beside the drawn ones on the page.")
@click.option(
    "--sheet", is_flag=True, help="Write a contact sheet for the card, if no copies are found: STEM.samples.png."
)
@options.as_json
def command(file: Path, as_json: bool, **choices: Any) -> int:
    """Check whether images drawn with the embedding in FILE are copies of images that it was trained on.

    For each, the nearest training image is looked for, turned, scaled, shifted and mirrored a little, whole and by
    halves, and judged against images of patients who were kept back. The same is done with copies planted on purpose:
    the page says how many of each kind were caught. Where fewer than 18 of 20 of any kind were, or fewer than 20 images
    were trained on, the verdict is insufficient-evidence. The exit code is 6 where a copy is suspected. The report and
    its page stay at the site.

    With --sheet the images that were drawn become one picture for the card, if the verdict is no-copies-found (else the
    exit code is 6). Of an embedding with a privacy claim it is drawn without a check, whose outcome would tell of
    patients what the claim does not cover.

    \b
    Example:
      embhub copy-check prostate-csPCa.safetensors
      embhub copy-check prostate-csPCa.safetensors --samples drawn --show-pairs
      embhub copy-check prostate-csPCa.safetensors --sheet
    """
    from embhub.diffusion.copying.outcome import check_to_file

    with progress_bar() as on_progress:
        report, facts = check_to_file(file, on_progress=on_progress, **choices)
    said = facts if report is None else report.model_dump(mode="json", by_alias=True)
    print_json(said) if as_json else print_pairs(facts)
    if report is None:
        return 0
    return 6 if report.suspected or (choices["sheet"] and report.verdict != "no-copies-found") else 0
