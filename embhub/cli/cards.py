"""`embhub card`: the description that a person must complete before an embedding is published."""

from __future__ import annotations

from pathlib import Path

import click

from embhub.cli import options
from embhub.cli.output import print_result, remark
from embhub.cli.whole_help import WholeHelpGroup


@click.group("card", cls=WholeHelpGroup, short_help="Create and check an embedding card.")
def command() -> None:
    """Create and check the embedding card that is published with an embedding.

    \b
    Example:
      embhub card init prostate-csPCa.safetensors
      embhub card check prostate-csPCa.card.yaml
    """


@command.command("init")
@click.argument("file", type=options.FILE)
@click.option(
    "--out",
    type=options.FILE,
    metavar="FILE",
    help="Card file to write  [default: STEM.card.yaml beside the embedding]",
)
@click.option(
    "--evaluation",
    type=options.FILE,
    metavar="FILE",
    help="Evaluation report: the evaluation.json of `embhub evaluate`.",
)
@click.option(
    "--samples",
    type=options.FILE,
    metavar="FILE",
    help="Record of the sample sheet: the STEM.samples.json of `embhub copy-check --sheet`.",
)
@click.option("--force", is_flag=True, help="Overwrite an existing card and discard its answers.")
@options.as_json
def init(
    file: Path, out: Path | None, evaluation: Path | None, samples: Path | None, force: bool, as_json: bool
) -> None:
    """Draft a card for the embedding in FILE.

    Computable fields are filled in, and site defaults come from config.yaml (`site:`). Fields that a person must fill
    in are listed. Run the command again after an audit: answers are kept, computed fields are updated. --evaluation
    adds the figures of an evaluation to the card, and so to the model-index that the Hub reads. --samples adds a sheet
    of generated images to the release.

    \b
    Example:
      embhub card init prostate-csPCa.safetensors
      embhub card init prostate-csPCa.safetensors --evaluation evaluation/evaluation.json
    """
    from embhub.diffusion.outputs import draft_card, kept_evaluation

    path, missing = draft_card(file, out=out, evaluation=evaluation, samples=samples, force=force)
    print_result({"card": path, "missing": missing if as_json else len(missing) or "nothing"}, as_json=as_json)
    if evaluation is None and kept_evaluation(path):
        remark("  kept: the evaluation of the earlier card; run `embhub evaluate` again after a new training")
    for line in missing:
        remark(f"  fill in: {line}")


@command.command("check")
@click.argument("card", type=options.FILE)
@options.as_json
def check(card: Path, as_json: bool) -> None:
    """Validate CARD (a .card.yaml) and list every missing or invalid field.

    \b
    Example:
      embhub card check prostate-csPCa.card.yaml
    """
    from embhub.cards.card import parse_yaml
    from embhub.release.files import CARD, LIMITS, read_file

    found = parse_yaml(read_file(card, limit=LIMITS[CARD]))
    print_result({"card": f"{found.name} {found.version}", "complete": True if as_json else "yes"}, as_json=as_json)
