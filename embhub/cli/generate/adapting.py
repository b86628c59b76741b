"""`embhub research adapt`: images in, one compact adapter out."""

from __future__ import annotations

from pathlib import Path

import click

from embhub.cli import options
from embhub.cli.generate import sheet
from embhub.cli.option_groups import option_group
from embhub.cli.output import note, print_json, print_pairs, progress_bar
from embhub.errors import UsageError
from embhub.options.adapter import AdapterRecipe
from embhub.options.preprocessing import Preprocessing
from embhub.options.training import Preview, Recipe, Selection
from embhub.progress import say_loading


def _refuse_privacy(_context: click.Context, _option: click.Parameter, value: str | None) -> None:
    if value is not None:
        raise UsageError(
            "adapters are not trained with differential privacy: at epsilon 8 they learned nothing",
            "train an embedding: embhub train --epsilon",
        )


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
@click.option(
    "--epsilon", "--n-public", hidden=True, expose_value=False, callback=_refuse_privacy,
    help="Refused: adapters are trained without differential privacy.",
)  # fmt: skip
@options.device
@click.option("--overwrite", is_flag=True, help="Overwrite --out if it exists.")
@click.option(
    "--out", required=True, type=options.FILE, metavar="FILE", help="Output adapter file, ending in .safetensors."
)
@options.as_json
def command(
    images: Path, token: str, caption: str, selection: Selection,
    preprocessing: Preprocessing, base: str | None, recipe: AdapterRecipe, device: str, out: Path, overwrite: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Train a compact adapter on IMAGES: low-rank changes of the attention layers, in a file of under 1 MB.

    It is published like an embedding: audit, card, sign, push. It holds more numbers about the patients than an
    embedding, and there is no training of it with differential privacy: for a privacy claim use embhub train
    --epsilon. For Stable Diffusion 1, 2 and XL. See docs/how-to/train-an-adapter.md.

    \b
    Example:
      embhub research adapt images --manifest m.csv --base prostate-base --holdout 0.3 --rank 2 \\
        --token "<cspca>" --caption "axial t2 prostate mri, {}" --out prostate-csPCa-adapter.safetensors
    """
    from embhub.diffusion.preflight.training import check_training

    with progress_bar() as on_progress:
        base = check_training(
            images, token=token, caption=caption, base=base, recipe=Recipe(), selection=selection, preview=Preview(),
            preprocessing=preprocessing, device=device, out=out, overwrite=overwrite,
            on_note=note,
        )  # fmt: skip
        say_loading(on_progress)
        from embhub.diffusion.outputs import adapt_to_file

        facts = adapt_to_file(
            images, token=token, caption=caption, base=base, recipe=recipe, selection=selection,
            preprocessing=preprocessing, device=device, out=out, overwrite=overwrite,
            on_progress=on_progress, on_note=note,
        )  # fmt: skip
    from embhub.client.pulling.overview import in_words

    print_json(facts) if as_json else print_pairs(in_words(facts))
    sheet.name_it(caption, token, out)
