"""`embhub card`: what a person must say about an embedding before anybody may use it."""

from __future__ import annotations

from pathlib import Path

import click

from embhub.cli import options
from embhub.cli.output import print_pairs, remark


@click.group("card", short_help="Write and check an embedding's card.")
def command() -> None:
    """Write and check the card that goes with an embedding.

    \b
    Example:
      embhub card init prostate-csPCa.safetensors
      embhub card check prostate-csPCa.card.yaml
    """


@command.command("init")
@click.argument("file", type=options.FILE)
@click.option(
    "--out", type=options.FILE, metavar="FILE", help="The card  [default: STEM.card.yaml beside the embedding]"
)
@click.option("--evaluation", type=options.FILE, metavar="FILE", help="The evaluation.json of `embhub evaluate`.")
@click.option(
    "--samples", type=options.FILE, metavar="FILE", help="The STEM.samples.json of `embhub copy-check --sheet`."
)
@click.option("--force", is_flag=True, help="Begin anew: forget the answers of a card that is there.")
def init(file: Path, out: Path | None, evaluation: Path | None, samples: Path | None, force: bool) -> None:
    """Draft a card for the embedding in FILE.

    Everything that can be computed is filled in; site defaults come from config.yaml (`site:`); what only a person can
    say is left open and listed. Run it again after an audit: answers are kept, what is computed is renewed.
    --evaluation takes the figures of one evaluation to the card, and so to the model-index that the Hub reads.
    --samples takes a sheet of drawn images into the release.

    \b
    Example:
      embhub card init prostate-csPCa.safetensors
      embhub card init prostate-csPCa.safetensors --evaluation evaluation/evaluation.json
    """
    from embhub.diffusion.outputs import draft_card, kept_evaluation

    path, missing = draft_card(file, out=out, evaluation=evaluation, samples=samples, force=force)
    print_pairs({"card": path, "still to say": len(missing) or "nothing"})
    if evaluation is None and kept_evaluation(path):
        remark("  kept: the evaluation of the earlier card; after another training evaluate again")
    for line in missing:
        remark(f"  to say: {line}")


@command.command("check")
@click.argument("card", type=options.FILE)
def check(card: Path) -> None:
    """Check that CARD (a .card.yaml) is complete; list everything that is not.

    \b
    Example:
      embhub card check prostate-csPCa.card.yaml
    """
    from embhub.cards.card import parse_yaml
    from embhub.release.files import CARD, LIMITS, read_file

    found = parse_yaml(read_file(card, limit=LIMITS[CARD]))
    print_pairs({"card": f"{found.name} {found.version}", "complete": "yes"})
