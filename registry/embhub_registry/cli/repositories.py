"""`embhub-registry repo`: existing and deleted repositories."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from embhub_registry.cli import options
from embhub_registry.cli.output import show
from embhub_registry.storage.settings import VISIBILITIES

if TYPE_CHECKING:
    from embhub_registry.storage.folder import Registry


@click.group("repo")
def command() -> None:
    """List repositories, set who sees them, delete them permanently, release a deleted name."""


@command.command("list")
@options.as_json
@options.opened
def list_(registry: Registry, *, as_json: bool) -> None:
    """List all repositories, including private, yanked and deleted ones."""
    from embhub_registry.repositories import holdings

    result = holdings.list_all(registry)
    lines = [f"{r['repository']:50} {r['state']:9} {r['version'] or '-'}" for r in result["repositories"]]
    lines += [f"{d['repository']:50} deleted   {d['date'][:10]}: {d['reason']}" for d in result["deleted"]]
    show(result, *lines, as_json=as_json)


@command.command("delete")
@click.argument("repository")
@click.option("--reason", required=True, help="Reason, shown to users who request the repository.")
@options.as_json
@options.opened
def delete(registry: Registry, *, repository: str, reason: str, as_json: bool) -> None:
    """Delete REPOSITORY (NAMESPACE/NAME) with all releases. To withdraw a release without deleting it, use `yank`."""
    from embhub_registry.repositories import deletion

    result = deletion.delete_as_operator(registry, repository, reason=reason)
    purged = result["purged"]
    said = "the server removes its bytes" if purged is None else f"{purged} objects removed"
    show(result, f"deleted {repository}; {said}", as_json=as_json)


@command.command("free")
@click.argument("repository")
@options.as_json
@options.opened
def free(registry: Registry, *, repository: str, as_json: bool) -> None:
    """Allow the name of a deleted REPOSITORY to be used again."""
    from embhub_registry.repositories import deletion

    show(deletion.free(registry, repository), f"{repository} may be created again", as_json=as_json)


@command.command("visibility")
@click.argument("repository")
@click.argument("visibility", type=click.Choice(VISIBILITIES))
@options.as_json
@options.opened
def visibility(registry: Registry, *, repository: str, visibility: str, as_json: bool) -> None:
    """Make REPOSITORY public, private or gated, even if it has releases that other sites rely on."""
    from embhub_registry.repositories import access_by_operator

    result = access_by_operator.set_visibility(registry, repository, visibility)
    show(result, f"{repository} is {visibility}", as_json=as_json)
