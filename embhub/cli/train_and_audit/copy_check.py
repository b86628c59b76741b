"""`embhub copy-check`: are generated images copies of training images?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embhub.cli import options
from embhub.cli.output import print_json, print_pairs, progress_bar
from embhub.progress import say_loading

if TYPE_CHECKING:
    from embhub.copies.report import Report


@click.command("copy-check", short_help="Find copies of training images among generated images.")
@click.argument("file", type=options.FILE)
@click.option(
    "--samples",
    type=options.FILE,
    metavar="DIR",
    help="Generated images to check  [default: generate some into STEM.samples]",
)
@click.option(
    "-n", "--number", "n", type=click.IntRange(1, 10_000), metavar="N", default=8, show_default=True,
    help="Number of images to generate without --samples.",
)  # fmt: skip
@click.option(
    "--prompt", metavar="TEXT", help="Prompt, with {} for the placeholder token  [default: the training's caption]"
)
@options.seed
@click.option("--members", type=options.FILE, metavar="IMAGES", help="Training images  [default: recorded by `train`]")
@click.option(
    "--nonmembers", type=options.FILE, metavar="IMAGES", help="Held-out images  [default: recorded by `train`]"
)
@options.base_trained_on
@click.option(
    "--alpha", type=click.FloatRange(0, 1, min_open=True, max_open=True), metavar="X", default=0.05, show_default=True,
    help="Significance level: family-wise false-positive rate.",
)  # fmt: skip
@options.device
@click.option(
    "--out",
    type=options.FILE,
    metavar="FILE",
    help="Report (JSON), with its page (HTML) beside it  [default: STEM.copies.json beside the embedding]",
)
@click.option(
    "--show-pairs", is_flag=True, help="Show the nearest patients' images beside the generated ones on the page."
)
@click.option(
    "--sheet", is_flag=True, help="Write a contact sheet for the card (STEM.samples.png) if no copies are found."
)
@options.as_json
def command(file: Path, as_json: bool, **choices: Any) -> int:
    """Check whether images generated with the embedding in FILE are copies of its training images (memorisation).

    For each generated image, the check finds the nearest training image, with small rotations, scalings, shifts and
    mirroring, as a whole and by its details. Distances are compared with those of held-out patients' images. The same
    is done with planted copies, and the page reports how many of each kind were detected. If fewer than 18 of 20 of
    any kind were detected, or there are fewer than 20 training images, the verdict is insufficient-evidence. The exit
    code is 6 if a copy is suspected. The report and its page stay at the site.

    With --sheet the generated images become one contact sheet for the card, if the verdict is no-copies-found;
    otherwise the exit code is 6. For an embedding with a privacy claim the sheet is generated without a check, because
    its outcome would reveal information about patients that the claim does not cover.

    \b
    Example:
      embhub copy-check prostate-csPCa.safetensors
      embhub copy-check prostate-csPCa.safetensors --samples drawn --show-pairs
      embhub copy-check prostate-csPCa.safetensors --sheet
    """
    from embhub.diffusion.preflight.auditing import check_copies

    with progress_bar() as on_progress:
        check_copies(file, **choices)
        say_loading(on_progress)
        from embhub.diffusion.copying.outcome import check_to_file

        report, facts = check_to_file(file, on_progress=on_progress, **choices)
    said = facts if report is None else report.model_dump(mode="json", by_alias=True)
    print_json(said) if as_json else print_pairs(facts)
    return _exit_code(report, sheet=choices["sheet"])


def _exit_code(report: Report | None, *, sheet: bool) -> int:
    """6 where a copy is suspected, or where no sheet could be written."""
    if report is None:
        return 0
    return 6 if report.suspected or (sheet and report.verdict != "no-copies-found") else 0
