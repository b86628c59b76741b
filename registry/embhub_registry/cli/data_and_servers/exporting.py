"""`embhub-registry export`: the registry as files, for a plain web server or a stick."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from embhub_registry.cli import options
from embhub_registry.cli.output import show


@click.command("export")
@click.option("--static", "folder", type=options.FILE, required=True, metavar="DIR",
              help="Folder to write: new, or with an earlier export in it.")  # fmt: skip
@click.option("--since", metavar="CHECKPOINT",
              help="Write only what an earlier export lacks: its folder, checkpoint file or SIZE:ROOT.")  # fmt: skip
@click.option("--apply", "increment", type=options.FILE, metavar="INCREMENT",
              help="Bring the export in DIR up to date with an increment; needs no --dir.")  # fmt: skip
@click.option("--max-bytes", "most", type=click.IntRange(min=1), metavar="N",
              help="With --apply: the most bytes of new files to take  [default: 20000000000].")  # fmt: skip
@click.option("--include", multiple=True, type=click.Choice(["gated", "private", "closed"]),
              help="Export gated or private repositories too, or a closed registry. Files have no gate.")  # fmt: skip
@options.as_json
def command(
    folder: Path, since: str | None, increment: Path | None, most: int | None, include: tuple[str, ...], as_json: bool
) -> None:  # fmt: skip
    """Write public releases, the log, the keyring and what was withdrawn as files that any web server serves.

    The same state gives the same bytes. A full disk leaves an earlier export as it was.

    \b
    Example:
      embhub-registry --dir hub export --static /srv/hub
      embhub-registry --dir hub export --static /media/stick/new --since /media/stick/hub/log/checkpoint
      embhub-registry export --static /srv/copy --apply /media/stick/new
    """
    if increment is not None:
        if since is not None or include:
            raise click.UsageError("--apply takes neither --since nor --include")
        _apply(increment, folder, most=most, as_json=as_json)
    elif most is not None:
        raise click.UsageError("--max-bytes needs --apply")
    else:
        _export(folder, since=since, include=include, as_json=as_json)


def _apply(increment: Path, folder: Path, *, most: int | None, as_json: bool) -> None:
    from dataclasses import asdict

    from embhub_registry.static import increments

    done = asdict(increments.apply(increment, folder, most=most or increments.MOST_BYTES))
    show({"dir": str(folder), **done}, f"{done['written']:,} files written, {done['removed']:,} removed in {folder}",
         as_json=as_json)  # fmt: skip


@options.opened
def _export(registry: Any, folder: Path, *, since: str | None, include: tuple[str, ...], as_json: bool) -> None:
    from embhub_registry.static import exporting

    result = exporting.export(registry, folder, since=since, include=include)
    for line in exporting.warnings(result):
        click.echo(f"warning: {line}", err=True)
    show(
        result, f"{result['releases']:,} releases of {result['repositories']:,} repositories in {folder}",
        f"{result['written']:,} files written, {result['removed']:,} removed",
        f"checkpoint {result['checkpoint'] or 'none'}", as_json=as_json,
    )  # fmt: skip
