"""`embhub research detect`: is an image synthetic, and which embedding generated it?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embhub.cli import options
from embhub.cli.output import print_json, progress_bar, remark

if TYPE_CHECKING:
    from embhub.diffusion.generation.tracing.detecting import Detection, Looked


@click.command("detect", short_help="Trace generated images to their embeddings.")
@click.argument("path", type=options.FILE)
@click.option(
    "--release", "releases", multiple=True, type=options.FILE, metavar="FILE|DIR",
    help="Compare with this release too, or with every release in a folder; repeat for several.",
)  # fmt: skip
@click.option(
    "--base", "bases", multiple=True, metavar="NAME|PATH",
    help="Look for images of this base that were generated without an embedding; repeat for several.",
)  # fmt: skip
@click.option("--metadata-only", is_flag=True, help="Read metadata only: fast, and it needs no base.")
@click.option(
    "--c2pa-trust", type=options.FILE, metavar="PEM",
    help="Certificates of authorities whose C2PA signers are accepted, besides the keys of trusted keyrings.",
)  # fmt: skip
@options.device
@options.as_json
def command(path: Path, metadata_only: bool, as_json: bool, **choices: Any) -> None:
    """Report which images of PATH (a file or a folder) are synthetic, and which embedding generated them.

    Reads the metadata of PNG, JPEG and DICOM files, verifies C2PA manifests, then looks for the mark that `generate`
    and `dataset` put into the first noise. Embeddings are those that this site pulled, and those of --release. Needs no
    network.

    Metadata can be written or removed by anybody, and everybody who has a release can make its mark: these are hints,
    not proofs. A C2PA manifest proves who signed it. "not known" does not mean that an image is real.

    \b
    Example:
      embhub research detect samples --release prostate-csPCa.safetensors
      embhub research detect image.png --json
    """
    from embhub.diffusion.generation.tracing.detecting import detect

    with progress_bar() as on_progress:
        found = detect(path, mark=not metadata_only, on_progress=on_progress, **choices)
    print_json(found.to_json()) if as_json else _print(found)


def _print(found: Detection) -> None:
    for one in found.files:
        _print_file(one)
    counts = found.to_json()
    click.echo(f"\n{counts['synthetic']:,} of {counts['images']:,} images are synthetic; of the others it is not known")
    for note in found.notes:
        remark(f"note: {note}")


def _print_file(one: Looked) -> None:
    colour = "yellow" if one.verdict == "synthetic" else "blue"
    name = "".join(letter if letter.isprintable() else "?" for letter in one.file)
    click.echo(f"{click.style(one.verdict.ljust(9), fg=colour, bold=True)}  {name}")
    for hit in one.hits:
        chance = f" (chance of a false match below {hit.chance:.0e})" if hit.chance is not None else ""
        click.echo(f"           {hit.layer}: {hit.says}{chance}")
    for known in one.releases:
        where = f"{known.repository} of {known.site}" if known.repository else "not verified here"
        click.echo(f"           embedding {known.token} ({known.digest[:16]}), base {known.base_name}: {where}")
        click.echo(f"           audit: {known.audit}; {known.state}")
        for reason in known.reasons:
            click.echo(f"           {reason}")
    for digest in one.unknown:
        click.echo(f"           embedding {digest}: no release of this site")
    if one.note:
        click.echo(f"           {one.note}")
