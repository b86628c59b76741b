"""`embhub-registry unyank`: recommend a release again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from embhub_registry.cli import options
from embhub_registry.cli.output import show

if TYPE_CHECKING:
    from embhub_registry.storage.folder import Registry


@click.command("unyank", short_help="Recommend a release again.")
@click.argument("repository")
@click.option("--version", help="The version that was yanked  [default: the newest release's].")
@click.option("--revision", metavar="SHA", help="The commit that was yanked.")
@options.as_json
@options.opened
def command(registry: Registry, *, repository: str, version: str | None, revision: str | None, as_json: bool) -> None:
    """Recommend again what was yanked of REPOSITORY (NAMESPACE/NAME), by the same version or commit."""
    from embhub_registry.repositories import deletion, yanking

    namespace, name = deletion.split(repository)
    result = yanking.unyank(registry, None, namespace, name, version=version, revision=revision)
    show(result, f"{len(result['yanked'])} commits are still yanked", as_json=as_json)
