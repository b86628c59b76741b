"""`embhub base`: the built-in base models, fingerprints of bases, and fine-tuning."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from embhub.cli import options
from embhub.cli.interruption import resumable
from embhub.cli.option_groups import option_group
from embhub.cli.output import note, print_json, print_pairs, print_table, progress_bar
from embhub.cli.whole_help import WholeHelpGroup
from embhub.options.component import Component, ComponentRecipe
from embhub.options.training import Selection
from embhub.progress import say_loading


@click.group("base", cls=WholeHelpGroup, short_help="List, compare and fine-tune base models.")
def command() -> None:
    """List the built-in base models, compare bases by fingerprint, and fine-tune a component of one.

    \b
    Example:
      embhub base list
      embhub base show builtin
      embhub base compare builtin adapted
    """


@command.command("list")
@options.as_json
def list_(as_json: bool) -> None:
    """List the built-in base models, and what each generates.

    \b
    Example:
      embhub base list
    """
    from embhub.builtin_bases import shipped

    bases = [
        {"name": base.name, "family": base.family, "licence": base.licence, "pixels": base.resolution,
         "generates": base.generates.what if base.generates else ""}
        for base in shipped()
    ]  # fmt: skip
    print_json(bases) if as_json else print_table([tuple(map(str, base.values())) for base in bases])


@command.command("show")
@click.argument("base", metavar="NAME|PATH")
@options.as_json
def show(base: str, as_json: bool) -> None:
    """Show the facts of a base model: family, licence, training data, and its measured quality gates.

    \b
    Example:
      embhub base show builtin
    """
    from embhub.diffusion.bases.gate import describe

    facts = describe(base)
    if as_json:
        print_json(facts)
        return
    figures, rows = facts.pop("figures"), facts.pop("gate")
    print_pairs(facts | {"figures": "in the card beside the weights, and with --json" if figures else "none yet"})
    print_table([(row["asked"], row["goal"], row["measured"], "met" if row["met"] else "missed") for row in rows])


@command.command("fingerprint")
@options.base_argument
@options.as_json
def fingerprint(base: str, as_json: bool) -> None:
    """Show the fingerprint of a base model: token space, weights, prediction type, autoencoder.

    Only slices of the weights are read, so it is fast. Copies in float32, float16 and bfloat16 have different digests;
    `embhub base compare` recognises them as the same base.

    \b
    Example:
      embhub base fingerprint builtin
      embhub base fingerprint stable-diffusion-v1-5/stable-diffusion-v1-5 --replace unet=adapted
    """
    from embhub.diffusion.bases.naming import check_base

    check_base(base)
    from embhub.diffusion.bases.identity import identify

    facts = identify(base)
    print_json(facts) if as_json else print_pairs({name: facts[name] for name in facts if name != "fingerprint"})


@command.command("compare")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B|EMBEDDING")
@options.as_json
@click.pass_context
def compare(context: click.Context, first: str, second: str, as_json: bool) -> None:
    """Compare the fingerprint of base A with base B, or with the base that an EMBEDDING (.safetensors) was trained on.

    exact: the fingerprints match. fine-tuned: same token space, other weights; the embedding loads with a warning.
    different: loading is refused. The exit code is 0 for the first two, 3 for the last. A base with replaced components
    is written "BASE + unet=FOLDER".

    \b
    Example:
      embhub base compare builtin adapted
      embhub base compare "builtin + lora=adapted" prostate-csPCa.safetensors
    """
    from embhub.diffusion.bases.naming import check_pair

    check_pair(first, second)
    from embhub.diffusion.bases.identity import compare_bases

    facts = compare_bases(first, second)
    print_json(facts) if as_json else print_pairs(facts)
    context.exit(facts["exit_code"])


@command.command("train")
@click.argument("images", type=options.FILE)
@click.option("--manifest", type=options.FILE, metavar="CSV", help="Columns path, patient_id and, if any, caption.")
@click.option("--head", required=True, metavar="TEXT", help='What all images are: "breast ultrasound".')
@click.option("--source", required=True, metavar="TEXT", help="Name and licence of the public images, for the card.")
@click.option("--out", required=True, type=options.FILE, metavar="DIR", help="Output folder.")
@click.option(
    "--hours", type=click.FloatRange(0, min_open=True), default=2.0, show_default=True, help="Hours of computing."
)
@click.option("--resume", is_flag=True, help="Continue the training in --out for --hours more.")
@options.seed
@options.device
@options.as_json
@click.pass_context
def train(context: click.Context, /, images: Path, as_json: bool, **choices: Any) -> None:
    """Train a small base model on public IMAGES (a folder, or a manifest's), at 128 x 128 pixels.

    For modalities that no base at hand can generate. Stock diffusers loads what comes out. The weights hold traces of
    the images and no privacy claim covers them: never use images that may not be published. States are kept in
    --out, so that an interrupted training continues with --resume.

    \b
    Example:
      embhub base train ultrasound --manifest public.csv --head "breast ultrasound" \\
          --source "BUSI (Al-Dhabyani et al. 2020), CC BY 4.0" --out ultrasound-base
      embhub train images --base ultrasound-base/pipeline --caption "breast ultrasound, {}" --token "<malignant>"
    """
    with resumable(context, list_files=False), progress_bar() as on_progress:
        say_loading(on_progress)
        from embhub.diffusion.adaptation.base_training.from_images import train_base

        done = asdict(train_base(images, on_progress=on_progress, on_note=note, **choices))
    print_json(done) if as_json else print_pairs(done)


@command.command("train-component")
@options.base_argument
@click.argument("images", type=options.FILE)
@click.option(
    "--component",
    "components",
    required=True,
    multiple=True,
    type=click.Choice(["unet", "text-encoder", "vae-decoder"]),
    help="Component to fine-tune; unet and text-encoder may be given together.",
)
@click.option(
    "--caption",
    required=True,
    metavar="TEXT",
    help='Training prompt template, {} for the image\'s label: "chest x-ray, {}".',
)
@option_group(
    Selection,
    "selection",
    defaults={"holdout": 0.1},
    helps={"holdout": "Held-out share of the patients, for the validation loss."},
)
@option_group(ComponentRecipe, "recipe")
@options.seed
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu"]),
    default="auto",
    show_default=True,
    help="Device; auto is accelerate's choice.",
)
@click.option("--resume", is_flag=True, help="Resume the interrupted or killed adaptation of --out.")
@click.option("--overwrite", is_flag=True, help="Overwrite an earlier adaptation in --out.")
@click.option("--out", required=True, type=options.FILE, metavar="DIR", help="Folder for the adapted base.")
@options.as_json
@click.pass_context
def train_component(
    context: click.Context, /, base: str, images: Path, components: tuple[Component, ...], caption: str,
    recipe: ComponentRecipe, selection: Selection, seed: int, device: str, resume: bool, overwrite: bool, out: Path,
    as_json: bool,
) -> None:  # fmt: skip
    """Fine-tune a component of BASE on IMAGES (a folder, or a manifest's images), and write a base of your own.

    NO PRIVACY: a fine-tuned base is not an embedding. No audit and no privacy claim covers it. The site's ledger
    counts it as unbounded privacy loss (epsilon infinite) for every patient in IMAGES. Protect the weights like the
    images.

    Writes a folder in diffusers' format, or with --lora-rank the LoRA alone, with a card. Use it as --base DIR or
    --replace lora=DIR. Under `accelerate launch` several GPUs share each batch. --resume continues an interrupted or
    killed run.

    \b
    Example:
      embhub base train-component builtin images --component unet --caption "chest x-ray, {}" --out adapted
      accelerate launch -m embhub base train-component owner/name images --component unet --lora-rank 16 \\
        --caption "chest x-ray, {}" --out adapted-lora
    """
    from embhub.diffusion.preflight.training import check_component

    with resumable(context), progress_bar() as on_progress:
        check_component(base, images, caption=caption, selection=selection, out=out, overwrite=overwrite)
        say_loading(on_progress)
        from embhub.diffusion.adaptation.component_training import train_component
        from embhub.diffusion.adaptation.overview import describe

        done = train_component(
            base, images, components=components, caption=caption, out=out, recipe=recipe, selection=selection,
            seed=seed, device=device, resume=resume, overwrite=overwrite, on_progress=on_progress, on_note=note,
        )  # fmt: skip
    if done is not None:  # in the first of several processes
        print_json(describe(done, out)) if as_json else print_pairs(describe(done, out))
