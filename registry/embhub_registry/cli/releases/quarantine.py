"""`embhub-registry curate quarantine`: set a release aside while somebody looks at it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from embhub_registry.cli import options
from embhub_registry.cli.output import show

if TYPE_CHECKING:
    from embhub_registry.storage.folder import Registry


@click.group("quarantine")
def command() -> None:
    """Set a release aside while somebody looks at it: neither a yank nor a withdrawal."""


@command.command("list")
@options.as_json
@options.opened
def list_(registry: Registry, *, as_json: bool) -> None:
    """List the releases that are set aside, with the reason."""
    from embhub_registry.admission import quarantining

    result = quarantining.list_all(registry)
    lines = (
        f"{row['repository']}  {row['version'] or ''}  {row['revision']}  since {row['date'][:10]}  {row['reason']}"
        for row in result["quarantined"]
    )
    show(result, *lines, as_json=as_json)


@command.command("set")
@click.argument("repository")
@click.option("--version", help="Version to set aside  [default: the newest release].")
@click.option("--revision", metavar="SHA", help="Commit to set aside, as the full 40 digits.")
@click.option("--reason", required=True, help="Reason, for publishers, approvers and admins; nobody else reads it.")
@options.as_json
@options.opened
def set_(
    registry: Registry, *, repository: str, version: str | None, revision: str | None, reason: str, as_json: bool
) -> None:
    """Set a release of REPOSITORY (NAMESPACE/NAME) aside.

    Every commit with the same embedding is served only to the namespace's publishers and approvers, and to admins.
    main falls back to the newest release that is left. Nothing is published about it, and nothing is removed.
    """
    from embhub_registry.admission import quarantining
    from embhub_registry.repositories import deletion

    options.exclusive(version=version, revision=revision)
    namespace, name = deletion.split(repository)
    result = quarantining.set_aside(
        registry, None, namespace, name, reason=reason, version=version, revision=revision
    )  # fmt: skip
    show(result, f"set aside version {result['version']} of {repository}", *_rest(result), as_json=as_json)


@command.command("lift")
@click.argument("repository")
@click.option("--version", help="Version that is set aside.")
@click.option("--revision", metavar="SHA", help="Commit that is set aside, as the full 40 digits.")
@options.as_json
@options.opened
def lift(registry: Registry, *, repository: str, version: str | None, revision: str | None, as_json: bool) -> None:
    """Show a release of REPOSITORY (NAMESPACE/NAME) again. main returns to it, unless it moved on meanwhile."""
    from embhub_registry.admission import quarantining
    from embhub_registry.repositories import deletion

    options.exclusive(version=version, revision=revision, needed=True)
    namespace, name = deletion.split(repository)
    result = quarantining.lift(registry, None, namespace, name, version=version, revision=revision)
    show(result, f"version {result['version']} of {repository} is shown again", *_rest(result), as_json=as_json)


def _rest(result: dict[str, Any]) -> list[str]:
    lines = [f"main is {result['main']}"]
    if result["also_held_by"]:
        lines.append(f"the same embedding is served by {', '.join(result['also_held_by'])}: set it aside there too")
    return lines
