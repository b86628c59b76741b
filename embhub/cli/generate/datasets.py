"""`embhub research dataset`: a labelled data set of generated images."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from embhub.cli import options
from embhub.cli.option_groups import option_group
from embhub.cli.output import print_json, print_pairs, progress_bar
from embhub.options.sampling import Sampling
from embhub.progress import say_loading


@click.command("dataset", short_help="Generate a labelled data set with embeddings.")
@click.argument("config", type=options.FILE, required=False)
@click.option(
    "--class",
    "classes",
    multiple=True,
    metavar='LABEL="PROMPT"',
    help="Class label and its prompt; repeat for each class. Replaces CONFIG.",
)
@click.option(
    "--embedding", "embeddings", multiple=True, metavar="FILE|NS/NAME",
    help="Embedding for the classes whose prompt contains its placeholder token; repeat for several.",
)  # fmt: skip
@options.base_option("Base model  [default: CONFIG's, or the one that the embeddings were made for]")
@click.option(
    "--per-class", type=click.IntRange(1, 1_000_000), metavar="N", help="Number of images per class  [default: 100]"
)
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), metavar="N", help="Random seed  [default: 0]")
@click.option(
    "--steps",
    type=click.IntRange(1, 1000),
    metavar="N",
    help="Number of sampling (inference) steps  [default: depends on the base]",
)
@click.option(
    "--guidance-scale", type=click.FloatRange(0, 100), metavar="X",
    help="Guidance scale (classifier-free guidance)  [default: depends on the base]",
)  # fmt: skip
@options.resolution
@options.negative
@options.negative_embeddings
@click.option(
    "--allow-no-card", "no_card", multiple=True, metavar="TOKEN",
    help="Allow this embedding without a card, on your own responsibility.",
)  # fmt: skip
@click.option(
    "--accept-terms", "terms_read", multiple=True, metavar="TOKEN",
    help="Accept licence and card of this embedding: you have read them, and they allow this use.",
)  # fmt: skip
@click.option(
    "--accept-below-floor", "below_floor", metavar="REASON",
    help="Accept a label whose images show it in less than half of the cases, by the card; the datasheet says why.",
)  # fmt: skip
@click.option(
    "--catalogue", "catalogue_facts", type=options.FILE, metavar="YAML",
    help="Write dcat.jsonld, a record for health-data catalogues (HealthDCAT-AP), with the facts of this file.",
)  # fmt: skip
@click.option(
    "--parquet", is_flag=True, help="Also write the manifest as manifest.parquet, for tools that read large tables."
)
@option_group(Sampling, "sampling")
@click.option(
    "--processes", type=click.IntRange(1, 64), default=1, show_default=True, metavar="N",
    help="Processes that generate images, each with the base in memory; on several GPUs they take one each in turn.",
)  # fmt: skip
@options.dicom_copies
@options.c2pa("Write a C2PA manifest for the data set, manifest.c2pa")
@options.device
@options.registry
@click.option("--out", required=True, type=options.FILE, metavar="DIR", help="Output folder of the data set.")
@options.as_json
def command(out: Path, as_json: bool, **choices: Any) -> None:
    """Generate a labelled data set: one class per prompt, from CONFIG (YAML) or --class.

    Embeddings are verified first, and refused if their licence or card forbids data sets of generated images. The
    output folder holds PNG files, manifest.csv (accepted by every command that reads images), croissant.json and a
    datasheet. To resume an interrupted run, repeat the same command; the result has the same bytes.

    \b
    Example:
      embhub research dataset --class csPCa="prostate mri with <cspca>" --class normal="prostate mri, normal" \\
        --embedding radboud/prostate-csPCa --per-class 500 --out generated
      embhub research dataset prostate.yaml --out generated
    """
    from embhub.diffusion.preflight.drawing import check_dataset

    with progress_bar() as on_progress:
        check_dataset(out, **choices)
        say_loading(on_progress)
        from embhub.diffusion.datasets.making import make_dataset

        made = make_dataset(out, on_progress=on_progress, **choices)
    print_json(asdict(made)) if as_json else print_pairs(made.facts())
