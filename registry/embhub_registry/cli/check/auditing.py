"""`embhub-registry audit`: the audit log."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from embhub_registry.cli import options
from embhub_registry.cli.output import show

if TYPE_CHECKING:
    from embhub_registry.storage.folder import Registry

NOT_WHOLE = 5


@click.group("audit")
def command() -> None:
    """The audit log: hash-chained entries, so that edits are detected."""


@command.command("export")
@click.option("--since", type=int, default=1, show_default=True, help="Number of the first entry to print.")
@click.option("--follow", "following", is_flag=True, help="Continue with new entries until stopped.")
@click.option("--syslog", metavar="URL",
              help="Send to a syslog server (RFC 5424): udp://HOST:514, tcp://HOST:601 or unix://PATH.")  # fmt: skip
@click.option("--position", type=options.FILE,
              help="File that keeps the number of the last entry, to resume after it.")  # fmt: skip
@click.option("--json", is_flag=True, expose_value=False, help="No effect: the output is always JSON Lines.")
@options.opened
def export(registry: Registry, *, since: int, following: bool, syslog: str | None, position: Path | None) -> None:
    """Print the audit log as JSON Lines, oldest first. Entries written before numbering was introduced come first."""
    from embhub_registry.operation.observability import audit_export

    audit_export.pass_on(registry, click.echo, since=since, following=following, syslog=syslog, position=position)


@command.command("head")
@options.as_json
@options.opened
def head(registry: Registry, *, as_json: bool) -> None:
    """Print number and digest of the last entry. Recorded elsewhere, they show whether the log was rewritten."""
    from embhub_registry.operation.observability import audit_export

    result = audit_export.head(registry)
    show(result, result["head"], as_json=as_json)


@command.command("verify")
@click.option("--head", "known", metavar="NUMBER:DIGEST", help="Earlier output of `audit head` to compare with.")
@options.as_json
@options.opened
@click.pass_context
def verify(context: click.Context, registry: Registry, *, known: str | None, as_json: bool) -> None:
    """Verify the whole hash chain: exit code 0 if it is intact, 5 with a list of problems."""
    from embhub_registry.operation.observability import audit_export

    result = audit_export.verify(registry, known=known)
    show(result, *(result["problems"] or [f"whole up to line {result['number']}"]), as_json=as_json)
    if result["problems"]:
        context.exit(NOT_WHOLE)
