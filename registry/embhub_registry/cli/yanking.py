"""`embhub-registry curate yank`: yank a release."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from embhub_registry.cli import options
from embhub_registry.cli.output import show

if TYPE_CHECKING:
    from embhub_registry.storage.folder import Registry


@click.command("yank", short_help="Yank a release, with a reason.")
@click.argument("repository")
@click.option("--version", help="Version to yank, with all its commits  [default: that of the newest release].")
@click.option("--revision", metavar="SHA", help="Single commit to yank, as the full 40 digits.")
@click.option(
    "--scope", type=click.Choice(("release", "bytes")), default="release", show_default=True,
    help="Withdraw this release alone, or its numbers under any name and header: they are not admitted again.",
)  # fmt: skip
@click.option("--reason", required=True, help="Reason, shown to everybody who sees the release.")
@options.as_json
@options.opened
def command(
    registry: Registry, *, repository: str, version: str | None, revision: str | None, scope: str, reason: str,
    as_json: bool,
) -> None:  # fmt: skip
    """Yank a release of REPOSITORY (NAMESPACE/NAME). Lists hide it and its page shows the reason; its files stay."""
    from embhub_registry.repositories import deletion, yanking

    namespace, name = deletion.split(repository)
    result = yanking.yank(
        registry, None, namespace, name, reason=reason, version=version, revision=revision, scope=scope
    )
    lines = (f"{y['revision']}  {y['version'] or ''}  {y['scope']}  {y['by']}  {y['reason']}" for y in result["yanked"])
    show(result, *lines, as_json=as_json)
