"""`embhub-registry yank`: take a release back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from embhub_registry.cli import options
from embhub_registry.cli.output import show

if TYPE_CHECKING:
    from embhub_registry.storage.folder import Registry


@click.command("yank", short_help="Take a release back, with a reason.")
@click.argument("repository")
@click.option("--version", help="Every commit of this version  [default: the newest release's].")
@click.option("--revision", metavar="SHA", help="One commit, by all 40 digits.")
@click.option("--reason", required=True, help="What its users must know; shown to whoever pulls it.")
@options.as_json
@options.opened
def command(
    registry: Registry, *, repository: str, version: str | None, revision: str | None, reason: str, as_json: bool
) -> None:
    """Take a release of REPOSITORY (NAMESPACE/NAME) back: lists hide it, its address says why; it stays."""
    from embhub_registry.repositories import deletion, yanking

    namespace, name = deletion.split(repository)
    result = yanking.yank(registry, None, namespace, name, reason=reason, version=version, revision=revision)
    show(result, *(f"{y['revision']}  {y['version'] or ''}  {y['reason']}" for y in result["yanked"]), as_json=as_json)
