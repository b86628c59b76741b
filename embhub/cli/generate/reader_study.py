"""`embhub research reader-study`: readers judge real and generated images, blinded, on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from embhub.cli import options
from embhub.cli.output import note, print_result, progress_bar, remark
from embhub.cli.whole_help import WholeHelpGroup
from embhub.durable import write_atomic
from embhub.options.preprocessing import FITS


@click.group("reader-study", cls=WholeHelpGroup, short_help="Let readers judge real and generated images, blinded.")
def command() -> None:
    """Let readers judge real and generated images, blinded, on this machine.

    Readers rate each image in a browser: is it real, and does it show a finding? The result has intervals over
    readers and images. `embhub card init --reader-study` adds it to the card. Images and single answers stay here.

    \b
    Example:
      embhub research reader-study prepare --real images --generated samples --dataset "T2 prostate MRI" --out study
      embhub research reader-study serve study
      embhub research reader-study result study --out reader-study.json
    """


@command.command("prepare")
@click.option("--real", type=options.FILE, metavar="IMAGES", required=True, help="Real images, as for `train`.")
@click.option(
    "--generated",
    type=options.FILE,
    metavar="DIR",
    required=True,
    help="Images of one embedding, from `embhub generate`.",
)
@click.option(
    "--dataset", metavar="TEXT", required=True, help="Name of the real images, for the result; it is published."
)
@click.option("--finding", metavar="TEXT", help="Ask whether each image shows this finding  [default: do not ask]")
@click.option(
    "-n", "--number", type=click.IntRange(10, 500), metavar="N", default=50, show_default=True,
    help="Images of each kind, one of each patient.",
)  # fmt: skip
@options.manifest
@options.where("used as real images")
@click.option("--fit", type=click.Choice(FITS), default="crop", show_default=True, help="As for `train`.")
@click.option("--seed", type=int, metavar="N", default=0, show_default=True, help="Decides which images are chosen.")
@click.option("--out", type=options.FILE, metavar="DIR", required=True, help="Folder to write; it must not exist.")
@options.as_json
def prepare(real: Path, generated: Path, out: Path, as_json: bool, **choices: Any) -> None:
    """Choose images for a study, and write them without anything that reveals which are generated.

    All images get the same size, grey levels or colour, and file format, and no metadata. The folder holds images of
    patients; keep it at the site.

    \b
    Example:
      embhub research reader-study prepare --real images --generated samples --dataset "T2 prostate MRI" --out study
      embhub research reader-study prepare --real images --generated samples --dataset T2 --finding csPCa --out study
    """
    from embhub.reader_study.preparing import prepare as prepare_study

    with progress_bar() as on_progress:
        study = prepare_study(real, generated, out, on_progress=on_progress, on_note=note, **choices)
    if not study.embeddings:
        remark("  the generated images do not name one embedding: the result cannot go on a card")
    print_result({"wrote": str(out), "images of each kind": len(study.cases) // 2}, as_json=as_json)


@command.command("serve")
@click.argument("study", type=options.FILE)
@click.option(
    "--port", type=click.IntRange(0, 65535), metavar="N", default=0, help="Port on this machine  [default: a free one]"
)
@options.as_json
def serve(study: Path, port: int, as_json: bool) -> None:
    """Serve the pages of STUDY to readers at this machine, until you press Ctrl-C.

    The address that is printed has a key; without it nobody is let in. Other machines cannot connect. Several readers
    may take turns or use several browsers; each begins anew in a private window. Answers are stored at once.

    \b
    Example:
      embhub research reader-study serve study
    """
    from embhub.reader_study.server import StudyServer

    with StudyServer(study, port=port) as server:
        print_result({"address": server.url}, as_json=as_json)
        remark("  open it in a browser; press Ctrl-C to stop")
        server.serve_forever()


@command.command("result")
@click.argument("study", type=options.FILE)
@click.option(
    "--out", type=options.FILE, metavar="FILE", help="Write the result, for `embhub card init --reader-study`."
)
@options.as_json
def result(study: Path, out: Path | None, as_json: bool) -> None:
    """Report what the readers of STUDY found, with intervals of 95 %.

    Only readers who rated every image count. With one reader the interval covers images alone: it does not say what
    other readers would find.

    \b
    Example:
      embhub research reader-study result study --out reader-study.json
    """
    from embhub.reader_study.result import compute, describe

    found, unfinished = compute(study)
    if out is not None:
        write_atomic(out, found.to_json().encode())
    print_result(found.model_dump(mode="json", by_alias=True) if as_json else describe(found), as_json=as_json)
    if unfinished:
        remark(f"  left out: {unfinished} readers who have not rated every image")
