"""`embhub-registry curate`: yank releases, undo it, and allow bytes again that were withdrawn under every name."""

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
def yank(
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


@click.command("unyank", short_help="Undo the yank of a release.")
@click.argument("repository")
@click.option("--version", help="Yanked version  [default: that of the newest release].")
@click.option("--revision", metavar="SHA", help="Yanked commit, as the full 40 digits.")
@options.as_json
@options.opened
def unyank(registry: Registry, *, repository: str, version: str | None, revision: str | None, as_json: bool) -> None:
    """Undo the yank of a release of REPOSITORY (NAMESPACE/NAME), by the same version or commit."""
    from embhub_registry.repositories import deletion, yanking

    namespace, name = deletion.split(repository)
    result = yanking.unyank(registry, None, namespace, name, version=version, revision=revision)
    show(result, f"{len(result['yanked'])} commits are still yanked", as_json=as_json)


@click.group("digest")
def digest() -> None:
    """List embeddings whose bytes were withdrawn, and allow them again."""


@digest.command("list")
@options.as_json
@options.opened
def list_withdrawn(registry: Registry, *, as_json: bool) -> None:
    """List embeddings, by SHA-256, that may not be published: by whom, and why."""
    from embhub_registry.repositories import yanking

    result = yanking.list_withdrawn(registry)
    lines = [f"{r['digest']}  {r['authority']:9}  {r['namespace']}  {r['reason']}" for r in result["withdrawn"]]
    show(result, *lines, as_json=as_json)


@digest.command("allow")
@click.argument("digest")
@click.option("--reason", required=True, help="Reason, for the audit log.")
@options.as_json
@options.opened
def allow(registry: Registry, *, digest: str, reason: str, as_json: bool) -> None:
    """Allow the embedding with this SHA-256 again. Yanked releases stay yanked."""
    from embhub_registry.repositories import yanking

    result = yanking.allow(registry, digest, reason=reason)
    show(result, f"{digest} may be published again", as_json=as_json)
