"""`embhub-registry repo`: repositories, and those that were deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from embhub_registry.cli import options
from embhub_registry.cli.output import show

if TYPE_CHECKING:
    from embhub_registry.storage.folder import Registry


@click.group("repo")
def command() -> None:
    """Repositories: list, delete for good, free a deleted name."""


@command.command("list")
@options.as_json
@options.opened
def list_(registry: Registry, *, as_json: bool) -> None:
    """Show every repository, private, yanked and deleted ones included."""
    from embhub_registry.repositories import holdings

    result = holdings.list_all(registry)
    lines = [f"{r['repository']:50} {r['state']:9} {r['version'] or '-'}" for r in result["repositories"]]
    lines += [f"{d['repository']:50} deleted   {d['date'][:10]}: {d['reason']}" for d in result["deleted"]]
    show(result, *lines, as_json=as_json)


@command.command("delete")
@click.argument("repository")
@click.option("--reason", required=True, help="Why; shown to whoever asks for it.")
@options.as_json
@options.opened
def delete(registry: Registry, *, repository: str, reason: str, as_json: bool) -> None:
    """Delete REPOSITORY (NAMESPACE/NAME) with all releases. To end its use without removing it: `yank`."""
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
    """Let the name of a deleted REPOSITORY be used again."""
    from embhub_registry.repositories import deletion

    show(deletion.free(registry, repository), f"{repository} may be created again", as_json=as_json)
