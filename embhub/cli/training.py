"""`embhub train`: images in, one embedding out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from embhub.cli import options
from embhub.cli.output import note, print_json, print_pairs, progress_bar, remark, repeat


@click.command("train", short_help="Learn a new word from images.")
@click.argument("images", type=options.FILE)
@click.option("--token", required=True, metavar="WORD", help='The new word, like "<cspca>".')
@click.option(
    "--caption", required=True, metavar="TEXT", help='What an image shows, {} for the word: "axial t2 mri, {}".'
)
@options.manifest
@options.where("Learn from")
@click.option(
    "--holdout",
    type=click.FloatRange(0, 0.9),
    metavar="X",
    default=0.0,
    show_default=True,
    help="Share of patients kept back.",
)
@options.base
@click.option(
    "--vectors", type=click.IntRange(1, 64), metavar="N", help="Rows to learn  [default: what suits the base]"
)
@click.option("--steps", type=click.IntRange(1), metavar="N", help="Optimisation steps  [default: what suits the base]")
@click.option(
    "--learning-rate",
    type=click.FloatRange(0, 10, min_open=True),
    metavar="X",
    help="AdamW's, at its peak  [default: what suits the base]",
)
@click.option(
    "--batch-size", type=click.IntRange(1, 4096), metavar="N", help="Images a step  [default: what suits the base]"
)
@click.option(
    "--micro-batch",
    type=click.IntRange(1, 4096),
    metavar="N",
    help="Compute so many of them at a time, where memory is short  [default: all]",
)
@click.option("--gradient-checkpointing", is_flag=True, help="Compute twice what does not fit in memory.")
@click.option(
    "--norm",
    type=click.Choice(["free", "directional"]),
    help="directional: rows stay as long as the base's words and only turn  [default: what suits the base]",
)
@click.option(
    "--per-layer",
    is_flag=True,
    help="Learn rows for each layer of the denoiser (P+): a larger file that only embhub reads.",
)
@click.option("--start", metavar="TEXT", help="Words to start from; they are published  [default: the caption's]")
@click.option(
    "--seed",
    type=click.IntRange(0, 2**63 - 1),
    metavar="N",
    help="Start of all randomness  [default: drawn, and kept private]",
)
@click.option(
    "--epsilon",
    type=click.FloatRange(0, min_open=True),
    metavar="E",
    help="Learn with differential privacy that spends at most this  [default: none, and the file says so]",
)
@click.option(
    "--n-public",
    type=click.IntRange(1),
    metavar="N",
    help="With --epsilon: a round number of patients to declare, no more than there are; it is published.",
)
@click.option(
    "--delta",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="D",
    help="Chance that epsilon does not cover, at most 1e-5  [default: 1e-5]",
)
@click.option(
    "--unit",
    type=click.Choice(["patient", "image"]),
    help="What is protected; image only where nobody knows whose the images are  [default: patient]",
)
@click.option(
    "--mechanism",
    type=click.Choice(["dp-sgd", "dp-agg"]),
    help="Noise on the gradients of every step, or on the mean of one embedding a patient  [default: dp-sgd]",
)
@click.option(
    "--max-images", type=click.IntRange(1), metavar="N", help="Images of one patient to use, in private  [default: 8]"
)
@click.option(
    "--directions",
    type=click.IntRange(0, 8192),
    metavar="N",
    help="Size of the public subspace for private rows, 0 for all  [default: what was measured best]",
)
@click.option(
    "--draws", type=click.IntRange(1, 1024), metavar="N", help="Draws of noise behind each patient's private gradient"
)
@click.option(
    "--clip",
    type=click.FloatRange(0, min_open=True),
    metavar="X",
    help="The most that one patient contributes, in private",
)
@options.device
@click.option("--resume", is_flag=True, help="Go on with the interrupted training of --out, if there is one.")
@click.option("--preview", type=click.IntRange(1), metavar="N", help="Draw a sheet of pictures every N steps.")
@click.option("--preview-dir", type=options.FILE, metavar="DIR", help="Where to  [default: NAME-previews beside --out]")
@click.option("--overwrite", is_flag=True, help="Write over --out where it is there.")
@click.option("--out", required=True, type=options.FILE, metavar="FILE", help="The embedding, ending in .safetensors.")
@options.as_json
@click.pass_context
def command(context: click.Context, /, images: Path, out: Path, as_json: bool, **choices: Any) -> None:
    """Learn a new word for what IMAGES (a folder, or a manifest's images) show.

    Only a few rows of numbers are learned; the base model stays as it is. Which images were used and which were held
    back is remembered on this machine for `embhub audit`, and never published. PNG, JPEG, TIFF and DICOM, 8 and 16
    bit; slices of volumes by a volumes.yaml (docs/how-to/use-dicom-and-nifti.md).
    An interrupted training goes on with the same command and --resume, and ends in the same file.

    With --epsilon each patient is protected by differential privacy, the site's ledger is charged, and the file carries
    a claim that anybody can recompute. Without it the file says `privacy: none`: nothing bounds what it tells.

    \b
    Example:
      embhub train images --manifest m.csv --where label=csPCa --holdout 0.3 \\
        --token "<cspca>" --caption "axial t2 prostate mri, {}" --out prostate-csPCa.safetensors
      embhub train images --manifest m.csv --epsilon 2 --n-public 100 \\
        --token "<cspca>" --caption "axial t2 prostate mri, {}" --out prostate-csPCa.safetensors
    """
    from embhub.client.overview import in_words
    from embhub.diffusion.outputs import train_to_file
    from embhub.diffusion.training.checkpoints import Interrupted

    try:
        with progress_bar() as on_progress:
            facts, _ = train_to_file(images, out, on_progress=on_progress, on_note=note, **choices)
    except Interrupted as stopped:
        remark(f"{stopped}; to go on with it:\n  {repeat(context, '--resume')}")
        raise
    print_json(facts) if as_json else print_pairs(in_words(facts))
