"""`embhub evaluate`: do drawn images help a classifier of real ones?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embhub.cli import options
from embhub.cli.generate import evaluation_publishing
from embhub.cli.output import note, progress_bar
from embhub.options.preprocessing import FITS
from embhub.options.regimes import REGIMES
from embhub.progress import say_loading

if TYPE_CHECKING:
    from embhub.diffusion.evaluation.evaluating import Evaluated


def _counts(_: click.Context, option: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """Whole numbers with commas between them."""
    try:
        return None if value is None else tuple(int(part) for part in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a list such as 10,50,200", param=option) from None


def _arms(_: click.Context, option: click.Parameter, values: tuple[str, ...]) -> dict[str, tuple[Path, ...]]:
    """Folders by name: several of one name are one arm."""
    found: dict[str, tuple[Path, ...]] = {}
    for value in values:
        name, _equals, folder = (part.strip() for part in value.partition("="))
        if not (name and folder):
            raise click.BadParameter(f"{value!r} is not of the kind NAME=DIR", param=option)
        found[name] = (*found.get(name, ()), Path(folder))
    return found


@click.command("evaluate", short_help="Measure whether generated images help a classifier.")
@click.option("--real", required=True, type=options.FILE, metavar="MANIFEST|DIR", help="Real training images.")
@click.option(
    "--test", required=True, type=options.FILE, metavar="MANIFEST|DIR", help="Real test images, of other patients."
)
@click.option(
    "--synthetic",
    multiple=True,
    type=options.FILE,
    metavar="DIR",
    help="Generated images, as `embhub research dataset` writes them; repeat it for embeddings of other seeds.",
)
@click.option(
    "--arm",
    "arms",
    multiple=True,
    callback=_arms,
    metavar="NAME=DIR",
    help="Control arm: other generated images, such as those of plain words; a repeated name is one arm.",
)
@click.option(
    "--regime",
    "regimes",
    multiple=True,
    type=click.Choice(REGIMES),
    default=REGIMES[:1],
    show_default=True,
    help="How generated images are used; repeatable, the first one decides the verdict.",
)
@click.option(
    "--real-share",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="SHARE",
    help="Share of real images in a batch  [default: as among all images]",
)
@click.option(
    "--controls/--no-controls",
    default=True,
    show_default=True,
    help="Also train with generated normals alone, and with early stopping on real images alone.",
)
@click.option(
    "--features", metavar="pretrained|MODULE:FACTORY",
    help="Feature extractor for realism  [default: pretrained if installed, else the classifier]",
)  # fmt: skip
@click.option(
    "--ceiling", type=options.FILE, metavar="MANIFEST|DIR",
    help="The real images behind the embedding: what the best generator would add.",
)  # fmt: skip
@click.option("--positive", metavar="LABEL", help="Positive label  [default: the one that is not normal]")
@click.option(
    "--classifier",
    metavar="small|resnet18|pretrained|MODULE:FACTORY",
    default="small",
    show_default=True,
    help="Classifier to train; `pretrained` is a published network that stays as it is (needs embhub[judge]).",
)
@click.option("--steps", type=click.IntRange(1, 1_000_000), metavar="N", help="Training steps for every arm.")
@click.option(
    "--seeds",
    type=click.IntRange(2, 1000),
    metavar="N",
    default=5,
    show_default=True,
    help="Number of random seeds: each selects other images and initializes a new network.",
)
@click.option(
    "--real-counts",
    callback=_counts,
    metavar="N,N",
    help="Numbers of real training images  [default: 10,20,50,200, all]",
)
@click.option(
    "--synthetic-counts",
    callback=_counts,
    metavar="N,N,…",
    help="Numbers of generated images  [default: 0,100,500 and all]",
)
@click.option(
    "--resolution",
    type=click.IntRange(16, 1024),
    metavar="N",
    help="Image resolution: side in pixels to which all images are resized  [default: 64, pretrained 128]",
)
@click.option(
    "--fit", type=click.Choice(FITS),
    help="Fit images into the square: crop, pad or stretch  [default: as the embeddings were trained]",
)  # fmt: skip
@click.option("--mirror/--no-mirror", default=True, show_default=True, help="Random horizontal flips (augmentation).")
@click.option("--real-where", metavar="COLUMN=VALUE", help="Use these rows of the manifest of --real only.")
@click.option("--test-where", metavar="COLUMN=VALUE", help="Use these rows of the manifest of --test only.")
@click.option(
    "--dataset", metavar="NAME", default="images of the site", show_default=True, help="Name of the data set on a card."
)
@options.device
@click.option(
    "--report",
    required=True,
    type=options.FILE,
    metavar="DIR",
    help="Output folder for report, page and learning curve.",
)
@options.as_json
@evaluation_publishing.publishable
def command(report: Path, **choices: Any) -> Evaluated:
    """Compare classifiers trained on real images, on real and generated ones, and on generated ones alone.

    All are tested on the same images, of patients excluded from training; a patient on both sides is refused. Every
    arm takes the same number of steps. The verdict counts each control: other arms, generated normals, and early
    stopping. Writes evaluation.json, index.html and learning-curve.png. If interrupted,
    the same command resumes. `card init --evaluation` copies the figures to a card.

    With --publish-to, coarse figures of one comparison are signed and shown beside the release that you pulled. You see
    all that leaves before it does. Publication is permanent; a newer evaluation takes its place.

    \b
    Example:
      embhub evaluate --real train.csv --test test.csv --synthetic drawn --report evaluation
      embhub evaluate --real train.csv --test test.csv --synthetic drawn --arm "plain words=other" \\
          --regime mixed --regime pretrained --classifier resnet18 --real-counts 20,100 --report evaluation
      embhub evaluate --real train.csv --test test.csv --synthetic drawn --report evaluation \\
          --publish-to radboud/prostate-csPCa --dry-run
    """
    from embhub.diffusion.preflight.drawing import check_evaluation

    with progress_bar() as on_progress:
        check_evaluation(report, **choices)
        say_loading(on_progress)
        from embhub.diffusion.evaluation.evaluating import evaluate

        found = evaluate(report=report, on_progress=on_progress, **choices)
    for line in found.notes:
        note(line)
    return found
