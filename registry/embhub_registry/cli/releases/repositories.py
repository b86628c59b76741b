"""`embhub-registry repo`: existing and deleted repositories."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from embhub_registry.cli import options
from embhub_registry.cli.output import show
from embhub_registry.cli.people_and_keys import publishers
from embhub_registry.storage.settings import VISIBILITIES

if TYPE_CHECKING:
    from embhub_registry.storage.folder import Registry


@click.group("repo")
def command() -> None:
    """List repositories, set who sees them, move main back, delete them, and let jobs in CI publish in them."""


command.add_command(publishers.command)


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
@click.option(
    "--scope", type=click.Choice(("release", "bytes")),
    help="Withdraw this repository alone, or its numbers under any name and header: they are not admitted again"
    "  [default: bytes; required if other repositories hold the same bytes].",
)  # fmt: skip
@options.as_json
@options.opened
def delete(registry: Registry, *, repository: str, reason: str, scope: str | None, as_json: bool) -> None:
    """Delete REPOSITORY (NAMESPACE/NAME) with all releases. `curate yank` withdraws a release without deleting it."""
    from embhub_registry.repositories import deletion

    result = deletion.delete_as_operator(registry, repository, reason=reason, scope=scope)
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


@command.command("main")
@click.argument("repository")
@click.option("--to", "commit", metavar="SHA", required=True, help="Commit to move to, as the full 40 digits.")
@click.option("--reason", required=True, help="Reason, for the audit log.")
@options.as_json
@options.opened
def main(registry: Registry, *, repository: str, commit: str, reason: str, as_json: bool) -> None:
    """Move the branch main of REPOSITORY (NAMESPACE/NAME) back to an earlier good release.

    For a repository whose newest release was signed by a stolen key. All commits stay readable by their full digits.
    """
    from embhub_registry.admission import moving_main

    result = moving_main.move(registry, repository, commit, reason=reason)
    show(result, f"main of {repository} is {commit}, version {result['version']}", as_json=as_json)
