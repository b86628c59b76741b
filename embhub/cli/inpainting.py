"""`embhub inpaint`: put a finding into a place of an image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from embhub.cli import options
from embhub.cli.output import print_json, print_pairs, progress_bar
from embhub.options.preprocessing import Fit

if TYPE_CHECKING:
    from embhub.images.c2pa_manifests.signing import ManifestSigner


@click.command("inpaint", short_help="Redraw a part of images with embeddings.")
@click.argument("images", type=options.FILE, metavar="IMAGE|DIR|MANIFEST")
@click.argument("prompt", required=False)
@options.also
@click.option(
    "--mask", type=options.FILE, metavar="FILE|DIR", help="White where to redraw: one for all, or a folder of masks."
)
@click.option("--box", metavar="X,Y,W,H", help="Where to redraw, in pixels from the upper left corner.")
@click.option("--grow", type=click.IntRange(-10_000, 10_000), metavar="N", default=0, help="Widen it by N pixels.")
@click.option("--border", type=click.FloatRange(0), metavar="N", help="Pixels over which it fades out  [side / 32]")
@click.option(
    "--strength",
    type=click.FloatRange(0, 1, min_open=True),
    metavar="X",
    default=1.0,
    show_default=True,
    help="How much may change: near 0 little, at 1 all.",
)
@options.embeddings
@options.base_made_for
@options.number("Times to redraw each image.", default=1)
@options.seed
@options.sampling_steps
@options.guidance_scale
@options.fit
@options.resolution
@options.negative
@options.negative_embeddings
@options.c2pa("Write a C2PA manifest into each image")
@options.device
@options.registry
@click.option("--out", required=True, type=options.FILE, metavar="DIR", help="Folder for the images and manifest.json.")
@options.as_json
def command(
    images: Path, prompt: str | None, also: tuple[str, ...], mask: Path | None, box: str | None, grow: int,
    border: float | None, strength: float, embeddings: tuple[str, ...], base: str | None, n: int, seed: int,
    steps: int | None, guidance_scale: float | None, fit: Fit | None, resolution: int | None, negative: str | None,
    negative_embeddings: tuple[str, ...], c2pa: ManifestSigner | None, device: str, registry: str | None,
    out: Path, as_json: bool,
) -> None:  # fmt: skip
    """Redraw a part of an image, or of every image of a folder, after PROMPT: put a finding at a place.

    Beyond the border every pixel stays what it was, bit for bit, and the size stays, too. The base sees the image
    fitted as in the embedding's training, or as --fit says. With crop the place must be in the central square.

    What is written is still a patient's image: readable by you alone, named by number; no file's name is kept.

    \b
    Example:
      embhub inpaint healthy.png "prostate mri, <cspca>" --box 26,36,14,12 --embedding cspca --out inserted
      embhub inpaint images "chest x-ray, <effusion>" --mask masks --strength 0.9 --embedding effusion --out inserted
    """
    from embhub.diffusion.drawing.image_files import Ask
    from embhub.diffusion.drawing.inpainted_files import Where, inpaint_to_folder
    from embhub.images.masks import parse_box

    ask = Ask((*([prompt] if prompt is not None else []), *also), embeddings, registry, negative, negative_embeddings)
    where = Where(mask, parse_box(box) if box is not None else None, grow, border)
    with progress_bar() as on_progress:
        facts = inpaint_to_folder(
            ask, images, where, out, n=n, seed=seed, strength=strength, base=base, steps=steps,
            guidance_scale=guidance_scale, fit=fit, resolution=resolution, device=device, c2pa=c2pa,
            on_progress=on_progress,
        )  # fmt: skip
    print_json(facts) if as_json else print_pairs(facts)
