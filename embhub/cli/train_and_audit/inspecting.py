"""`embhub inspect`: report what a folder of images contains, before training on it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embhub.cli import options
from embhub.cli.output import print_pairs, progress_bar, remark
from embhub.errors import UsageError
from embhub.options.preprocessing import FITS

if TYPE_CHECKING:
    from embhub.images.inspections.report import Inspection, Refusal

_SHOWN = 6
_LONGEST = 60


def _columns(_: click.Context, __: click.Parameter, text: str | None) -> dict[str, str] | None:
    from embhub.images.manifests.columns import parse_columns

    return parse_columns(text) if text else None


@click.command("inspect", short_help="Check images before training.")
@click.argument("images", type=options.FILE)
@options.manifest
@options.where("read")
@click.option(
    "--base",
    metavar="NAME|PATH",
    help="Base model that the images are for  [default: say which built-in one the DICOM headers fit]",
)
@click.option(
    "--columns",
    callback=_columns,
    metavar="OURS=YOURS,…",
    help="Names of the manifest's columns, such as path=Datei,patient_id=PatientenNr.",
)
@click.option(
    "--write-manifest",
    type=options.FILE,
    metavar="FILE",
    help="Write a manifest of the images that could be read; it has paths and patient ids.",
)
@click.option("--fit", type=click.Choice(FITS), default="crop", show_default=True, help="As for `train`.")
@click.option("--show-names", is_flag=True, help="Say which file each reported number stands for; only on a terminal.")
@options.as_json
def command(images: Path, show_names: bool, as_json: bool, **choices: Any) -> int:
    """Report what IMAGES (a folder, a manifest or a volumes file) contains and whether `train` would accept it.

    Reports images, sizes, bit depths, patients, labels, duplicates, unreadable and ignored files. Also reports file
    names and headers that may identify a person; for DICOM files, attributes by keyword and tag. With the extra `ocr`,
    text burned into the pixels is looked for. All problems are listed, not only the first. No path, patient id or
    header value is printed, only row numbers. --show-names adds the file name behind each number on your terminal; it
    writes none to a file. The exit code is that of `train`.

    --write-manifest leaves damaged files out and names the columns as embhub knows them. The result is in UTF-8.

    \b
    Example:
      embhub inspect images
      embhub inspect images/manifest.csv --where label=csPCa --base builtin --json
      embhub inspect export-of-the-pacs/volumes.yaml
      embhub inspect images --manifest Liste.csv --columns path=Datei,patient_id=PatientenNr --write-manifest clean.csv
    """
    if show_names:
        check_terminal(as_json=as_json)
    from embhub.images.inspections.inspection import inspect

    with progress_bar() as on_progress:
        found = inspect(images, on_progress=on_progress, **choices)
    click.echo(found.to_json()) if as_json else _print(found)
    _say_written(found, choices["write_manifest"])
    if show_names:
        _print_names(found, images, choices["manifest"], choices["columns"])
    return found.exit_code


def _say_written(found: Inspection, manifest: Path | None) -> None:
    if manifest is not None:
        remark(f"wrote {manifest}: {found.images.readable:,} of {found.images.listed:,} images")


def check_terminal(*, as_json: bool) -> None:
    """Refuse file names where they could end up in a file: they often are patients' names.

    Raises:
        UsageError: stdout is no terminal, or JSON was asked for.
    """
    if as_json or not sys.stdout.isatty():
        raise UsageError(
            "--show-names prints file names, which may name patients: on a terminal only",
            "run it on a terminal, without --json and without a pipe; or leave it out",
        )


def _print_names(found: Inspection, images: Path, manifest: Path | None, columns: Mapping[str, str] | None) -> None:
    from embhub.images.inspections.file_names import find_rows, name_files

    names = name_files(images, manifest, find_rows(found), columns=columns)
    lines = [f"{found.row_name} {number}: {_printable(name)}" for number, name in names.items()]
    _print_list("which file is meant (do not copy this into a report)", "blue", lines or ["no number is reported"])


def _print(found: Inspection) -> None:
    print_pairs(_facts(found))
    _print_list("train would refuse", "red", [_refusal(refusal, found.row_name) for refusal in found.refusals])
    _print_list("train would warn", "yellow", found.warnings)
    _print_list("worth a look", "blue", found.remarks)
    _print_list(
        "not read", "blue", [f"{i.files:,} {i.kind}{f': {i.remedy}' if i.remedy else ''}" for i in found.ignored]
    )
    click.echo(f"\nnot checked: {', '.join(found.not_looked_for)}")
    said = ("accept", "green") if found.accepted else ("refuse", "red")
    click.secho(f"train would {said[0]} these images for a base of {found.resolution} pixels", fg=said[1], bold=True)


def _facts(found: Inspection) -> dict[str, str]:
    counts, copies, splits = found.images, found.duplicates, found.splits
    if not counts.listed:  # no figure about what was not looked at
        return {"images": "none listed"}
    kept = [f"{splits.train:,} for training", f"{splits.holdout:,} held out", f"{splits.left_out:,} ignored"]
    return {
        "images": f"{counts.listed:,} listed, {counts.readable:,} readable, {counts.different:,} distinct",
        "patients": _patients(found),
        "labels": _most([(_shown(label.label), label.images) for label in found.labels]),
        "splits": ", ".join(kept) if splits.holdout or splits.left_out else "",
        "sizes": _most([(f"{size.width} x {size.height}", size.images) for size in found.sizes]),
        "stored as": _most([(f"{kind.format} {kind.mode} {kind.bits} bit", kind.images) for kind in found.kinds]),
        "copies": f"{copies.exact:,} exact, {copies.near:,} near, {copies.across_patients:,} across patients",
        "headers": f"{found.with_metadata:,} files with text in them" if not found.dicom else _headers(found),
        "text": _text(found),
        "names": f"{len(found.names.files):,} file names look like a person's",
    }


def _text(found: Inspection) -> str:
    if found.burned_text is None:
        return ""
    looked = found.images.readable - len(found.text_unknown)
    unknown = f"; not looked for in {len(found.text_unknown):,}" if found.text_unknown else ""
    return f"burned into the pixels: looked for, found in {len(found.burned_text):,} of {looked:,}{unknown}"


def _headers(found: Inspection) -> str:
    named = _most([(f"{one.attribute} {one.tag}", one.files) for one in found.identifiers])
    plain = f", {found.with_metadata:,} other files with text in them" if found.with_metadata else ""
    return f"{found.dicom:,} DICOM, with {named or 'no direct identifiers'}{plain}"


def _patients(found: Inspection) -> str:
    if found.patients is None:
        return "no patient ids: each image counts as one patient"
    each = found.patients
    spread = _most(
        [(f"{images} image{'s' if images > 1 else ''}", number) for images, number in each.histogram.items()]
    )
    return f"{each.number:,}, of {each.fewest} to {each.most} images (median {each.median:g}): {spread}"


def _shown(label: str | None) -> str:
    """A label on one line of the terminal, whatever its manifest put into it."""
    if label is None:
        return "(withheld)"
    plain = _printable(label)
    return plain if len(plain) <= _LONGEST else f"{plain[:_LONGEST]}…"


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _most(counts: Sequence[tuple[str, int]]) -> str:
    shown = ", ".join(f"{name} ({number:,})" for name, number in counts[:_SHOWN])
    return f"{shown}, {len(counts) - _SHOWN} others" if len(counts) > _SHOWN else shown


def _refusal(refusal: Refusal, name: str) -> str:
    more = ""
    if refusal.cases > 1:
        rows = ", ".join(map(str, refusal.rows[1 : _SHOWN + 1]))
        more = (
            f", and {refusal.cases - 1:,} more like it ({name} {rows}{', …' if len(refusal.rows) > _SHOWN + 1 else ''})"
        )
    return f"{refusal.message}{more}; {refusal.hint}" if refusal.hint else f"{refusal.message}{more}"


def _print_list(title: str, colour: str, lines: Sequence[str]) -> None:
    if lines:
        click.secho(f"\n{title}", fg=colour, bold=True)
    for line in lines:
        click.echo(f"  - {line}")
