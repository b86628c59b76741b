"""`embhub-registry audit`: the log of who did what."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from embhub_registry.cli import options
from embhub_registry.cli.output import show

if TYPE_CHECKING:
    from embhub_registry.storage.folder import Registry

NOT_WHOLE = 5


@click.group("audit")
def command() -> None:
    """The audit log: a chain of lines that cannot be edited unnoticed."""


@command.command("export")
@click.option("--since", type=int, default=1, show_default=True, help="Number of the first line.")
@click.option("--json", is_flag=True, expose_value=False, help="Each line is a JSON object either way.")
@options.opened
def export(registry: Registry, *, since: int) -> None:
    """Print the log, a JSON object a line, oldest first; lines of the first release have no number and come first."""
    from embhub_registry.operation import audit_export as inspection

    for line in inspection.export(registry, since=since):
        click.echo(line)


@command.command("head")
@options.as_json
@options.opened
def head(registry: Registry, *, as_json: bool) -> None:
    """Print number and digest of the last line: written down elsewhere, they show whether the log was rewritten."""
    from embhub_registry.operation import audit_export as inspection

    result = inspection.head(registry)
    show(result, result["head"], as_json=as_json)


@command.command("verify")
@click.option("--head", "known", metavar="NUMBER:DIGEST", help="A head that `audit head` printed earlier.")
@options.as_json
@options.opened
@click.pass_context
def verify(context: click.Context, registry: Registry, *, known: str | None, as_json: bool) -> None:
    """Read the whole chain: exit 0 when it is whole, 5 with what is wrong."""
    from embhub_registry.operation import audit_export as inspection

    result = inspection.verify(registry, known=known)
    show(result, *(result["problems"] or [f"whole up to line {result['number']}"]), as_json=as_json)
    if result["problems"]:
        context.exit(NOT_WHOLE)
