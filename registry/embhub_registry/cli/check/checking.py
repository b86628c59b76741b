"""`embhub-registry check`: is everything that was stored still whole?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from embhub_registry.cli import options
from embhub_registry.cli.output import show

if TYPE_CHECKING:
    from embhub_registry.storage.folder import Registry

NOT_CLEAN = 5


@click.command("check")
@click.option("--repair", "mending", is_flag=True, help="Remove orphaned blobs and unfinished writes.")
@options.as_json
@options.opened
@click.pass_context
def command(context: click.Context, registry: Registry, *, mending: bool, as_json: bool) -> None:
    """Check the integrity of all stored data (server stopped): exit code 0 if clean, 5 with a list of problems.

    A warning names each release with an audit report that no site may publish; warnings alone give exit code 0.
    Without --repair nothing is changed. With --repair, orphaned data is removed if nothing is corrupt.
    """
    from embhub_registry.operation.backups import checking, repair

    with registry.alone("check"):
        report = checking.check(registry)
        removed = repair.repair(registry, report) if mending else []
        report = checking.check(registry) if removed else report
    lines = [("removed ", removed), ("corrupt ", report.corrupt), ("orphaned", report.orphaned)]
    lines.append(("warning ", report.warnings))
    whole = f"clean, but for {len(report.warnings)} of the releases" if report.warnings else "clean"
    said = whole if report.clean else f"{len(report.corrupt)} corrupt, {len(report.orphaned)} orphaned"
    document = report.to_json() | ({"removed": removed} if mending else {})
    show(document, *(f"{word}  {line}" for word, rows in lines for line in rows), said, as_json=as_json)
    context.exit(0 if report.clean else NOT_CLEAN)
