"""`embhub train`: images in, one embedding out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from embhub.cli import options
from embhub.cli.generate import sheet
from embhub.cli.interruption import resumable
from embhub.cli.option_groups import option_group
from embhub.cli.output import ask_on_terminal, note, print_json, print_pairs, progress_bar
from embhub.cli.whole_help import SectionedCommand
from embhub.options.fields import options_of
from embhub.options.preprocessing import Preprocessing
from embhub.options.training import Preview, PrivacySettings, Recipe, Selection, choose_privacy
from embhub.progress import say_loading

if TYPE_CHECKING:
    from embhub.diffusion.train import TrainResult


SECTIONS = {
    "Options": ("token", "caption", "base", "manifest", "holdout", "epsilon", "n_public", "out"),
    "Images": (*options_of(Selection), *options_of(Preprocessing)),
    "Privacy": tuple(options_of(PrivacySettings)),
    "Recipe": (*options_of(Recipe), "seed"),
}
"""Names of parameters in the order of `--help`; what is named twice stands where it is named first."""


@click.command(
    "train", cls=SectionedCommand, sections=SECTIONS, short_help="Train an embedding on images (textual inversion)."
)
@click.argument("images", type=options.FILE)
@click.option(
    "--placeholder-token", "--token", "token", required=True, metavar="TOKEN",
    help='Placeholder token: the word for the concept in prompts, such as "<cspca>".',
)  # fmt: skip
@click.option(
    "--caption", required=True, metavar="TEXT",
    help='Training prompt template, {} for the placeholder token: "axial t2 mri, {}".',
)  # fmt: skip
@option_group(Selection, "selection")
@option_group(Preprocessing, "preprocessing")
@options.base
@option_group(Recipe, "recipe")
@click.option(
    "--seed", type=click.IntRange(0, 2**63 - 1), metavar="N", help="Random seed.  [default: random, and kept private]"
)
@option_group(PrivacySettings, "privacy", build=choose_privacy)
@options.device
@click.option("--resume", is_flag=True, help="Resume the interrupted training of --out, if there is one.")
@option_group(Preview, "preview")
@click.option("--overwrite", is_flag=True, help="Overwrite --out if it exists.")
@click.option(
    "--out", required=True, type=options.FILE, metavar="FILE", help="Output embedding file, ending in .safetensors."
)
@options.as_json
@click.pass_context
def command(
    context: click.Context, /, images: Path, token: str, caption: str, base: str | None, recipe: Recipe,
    selection: Selection, preprocessing: Preprocessing, privacy: PrivacySettings | None, seed: int | None, device: str,
    out: Path, overwrite: bool, resume: bool, preview: Preview, as_json: bool,
) -> None:  # fmt: skip
    """Train an embedding on IMAGES: a folder, a manifest, or a volumes.yaml.

    Textual inversion learns token embeddings for a new placeholder token; the weights of the base model do not
    change. Images are PNG, JPEG, TIFF or DICOM files, 8 or 16 bit, or slices of volumes
    (docs/how-to/use-dicom-and-nifti.md). This machine remembers which images were training data and which were held
    out, for `embhub audit`. That record is never published. --resume continues an interrupted training and ends in
    the same file.

    A base generates only what it was trained on. Without --base the caption chooses a built-in base that generates
    what it names, and says so. Where there is none, or DICOM headers are of other images, nothing is trained.

    With --epsilon the training is differentially private (DP-SGD, DP-AGG or votes). The privacy budget of the site's
    ledger is charged, and the file carries a privacy claim that anybody can recompute. Before that, the command says
    the total after this training, and asks on a terminal where it would rule out hardly any attack. Without
    --epsilon the file says `privacy: none`: there is no bound on what it leaks.

    \b
    Example:
      embhub train images --manifest m.csv --where label=csPCa --holdout 0.3 --base prostate-base \\
        --token "<cspca>" --caption "axial t2 prostate mri, {}" --out prostate-csPCa.safetensors
      embhub train images --manifest m.csv --epsilon 2 --n-public 100 \\
        --token "<pneumonia>" --caption "frontal chest x-ray, {}" --out pneumonia.safetensors
    """
    from embhub.diffusion.preflight.training import check_training

    with resumable(context), progress_bar() as on_progress:
        base = check_training(
            images, token=token, caption=caption, base=base, recipe=recipe, selection=selection, preview=preview,
            preprocessing=preprocessing, device=device, out=out, overwrite=overwrite,
            on_note=note,
        )  # fmt: skip
        say_loading(on_progress)
        from embhub.diffusion.train import train

        result = train(
            images, token=token, caption=caption, base=base, recipe=recipe, privacy=privacy, selection=selection,
            preprocessing=preprocessing, seed=seed, device=device, out=out, overwrite=overwrite, resume=resume,
            preview=preview,
            on_progress=on_progress, on_note=note, confirm=ask_on_terminal(),
        )  # fmt: skip
    _print(result, as_json=as_json)
    sheet.name_it(caption, token, out)


def _print(result: TrainResult, *, as_json: bool) -> None:
    from embhub.client.pulling.overview import in_words
    from embhub.diffusion.outputs import describe_training

    facts = describe_training(result)
    print_json(facts) if as_json else print_pairs(in_words(facts))
