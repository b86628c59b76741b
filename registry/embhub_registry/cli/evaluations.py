"""`embhub-registry curate evaluation`: what those who pulled releases published of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from embhub_registry.cli import options
from embhub_registry.cli.output import show

if TYPE_CHECKING:
    from embhub_registry.storage.folder import Registry


@click.group("evaluation")
def command() -> None:
    """List and remove evaluations of releases. Publishers cannot remove them; you can, with a reason."""


@command.command("list")
@click.argument("repository", metavar="NAMESPACE/NAME")
@options.as_json
@options.opened
def list_(registry: Registry, *, repository: str, as_json: bool) -> None:
    """List the evaluations of every version of a repository."""
    from embhub_registry.repositories import evaluations

    rows = evaluations.listed(registry, repository)
    show({"evaluations": rows}, *evaluations.lines(rows), as_json=as_json)


@command.command("remove")
@click.argument("repository", metavar="NAMESPACE/NAME")
@click.option("--namespace", required=True, help="Namespace that published the evaluation.")
@click.option("--reason", required=True, help="Reason, shown in its place to everybody who sees the release.")
@options.as_json
@options.opened
def remove(registry: Registry, *, repository: str, namespace: str, reason: str, as_json: bool) -> None:
    """Remove what a namespace published of any version of a repository. It can publish none of these versions again."""
    from embhub_registry.repositories import evaluations

    rows = evaluations.remove(registry, repository, namespace, reason=reason)
    show({"evaluations": rows}, *evaluations.lines(rows), as_json=as_json)


@command.command("allow")
@click.argument("repository", metavar="NAMESPACE/NAME")
@click.option("--namespace", required=True, help="Namespace whose evaluation was removed.")
@options.as_json
@options.opened
def allow(registry: Registry, *, repository: str, namespace: str, as_json: bool) -> None:
    """Let a namespace whose evaluation was removed publish one again. The reason is shown no longer."""
    from embhub_registry.repositories import evaluations

    rows = evaluations.allow(registry, repository, namespace)
    show({"evaluations": rows}, *evaluations.lines(rows), as_json=as_json)
