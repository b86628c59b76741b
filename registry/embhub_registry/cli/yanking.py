"""`embhub-registry yank`: yank a release."""

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
@click.option("--reason", required=True, help="Reason, shown to users who pull the release.")
@options.as_json
@options.opened
def command(
    registry: Registry, *, repository: str, version: str | None, revision: str | None, reason: str, as_json: bool
) -> None:
    """Yank a release of REPOSITORY (NAMESPACE/NAME). Lists hide it and its page shows the reason; its files stay."""
    from embhub_registry.repositories import deletion, yanking

    namespace, name = deletion.split(repository)
    result = yanking.yank(registry, None, namespace, name, reason=reason, version=version, revision=revision)
    show(result, *(f"{y['revision']}  {y['version'] or ''}  {y['reason']}" for y in result["yanked"]), as_json=as_json)
