"""`embhub adapt`: images in, one compact adapter out."""

from __future__ import annotations

from pathlib import Path

import click

from embhub.cli import options
from embhub.cli.interruption import resumable
from embhub.cli.option_groups import option_group
from embhub.cli.output import note, print_json, print_pairs, progress_bar
from embhub.options.adapter import AdapterRecipe
from embhub.options.preprocessing import Preprocessing
from embhub.options.training import Preview, PrivacySettings, Recipe, Selection, choose_privacy
from embhub.progress import say_loading


@click.command("adapt", short_help="Train a compact adapter on images (LoRA).")
@click.argument("images", type=options.FILE)
@click.option(
    "--placeholder-token", "--token", "token", required=True, metavar="TOKEN",
    help='Text that stands for the concept in prompts, such as "<cspca>".',
)  # fmt: skip
@click.option(
    "--caption", required=True, metavar="TEXT",
    help='Training prompt template, {} for the placeholder token: "axial t2 mri, {}".',
)  # fmt: skip
@option_group(Selection, "selection")
@option_group(Preprocessing, "preprocessing")
@options.base
@option_group(AdapterRecipe, "recipe")
@option_group(PrivacySettings, "privacy", build=choose_privacy)
@options.device
@click.option("--resume", is_flag=True, help="Resume the interrupted private training of --out, if there is one.")
@click.option("--overwrite", is_flag=True, help="Overwrite --out if it exists.")
@click.option(
    "--out", required=True, type=options.FILE, metavar="FILE", help="Output adapter file, ending in .safetensors."
)
@options.as_json
@click.pass_context
def command(
    context: click.Context, /, images: Path, token: str, caption: str, selection: Selection,
    preprocessing: Preprocessing, base: str, recipe: AdapterRecipe, privacy: PrivacySettings | None, device: str,
    out: Path, overwrite: bool, resume: bool, as_json: bool,
) -> None:  # fmt: skip
    """Train a compact adapter on IMAGES: low-rank changes of how the denoiser reads text, in a file of under 1 MB.

    It is published like an embedding: audit, card, sign, push. It holds more numbers about the patients than an
    embedding. With --epsilon the training is differentially private (DP-SGD): few of these numbers are learned, and
    the file carries a privacy claim. For Stable Diffusion 1, 2 and XL. See docs/how-to/train-an-adapter.md.

    \b
    Example:
      embhub adapt images --manifest m.csv --holdout 0.3 --rank 2 \\
        --token "<cspca>" --caption "axial t2 prostate mri, {}" --out prostate-csPCa-adapter.safetensors
      embhub adapt images --manifest m.csv --epsilon 2 --n-public 100 \\
        --token "<cspca>" --caption "axial t2 prostate mri, {}" --out prostate-csPCa-adapter.safetensors
    """
    from embhub.diffusion.preflight.training import check_training

    with resumable(context), progress_bar() as on_progress:
        check_training(
            images, token=token, caption=caption, base=base, recipe=Recipe(), selection=selection, preview=Preview(),
            preprocessing=preprocessing, device=device, out=out, overwrite=overwrite,
        )  # fmt: skip
        say_loading(on_progress)
        from embhub.diffusion.outputs import adapt_to_file

        facts = adapt_to_file(
            images, token=token, caption=caption, base=base, recipe=recipe, selection=selection,
            preprocessing=preprocessing, privacy=privacy, device=device, out=out, overwrite=overwrite, resume=resume,
            on_progress=on_progress, on_note=note,
        )  # fmt: skip
    from embhub.client.overview import in_words

    print_json(facts) if as_json else print_pairs(in_words(facts))
