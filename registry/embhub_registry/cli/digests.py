"""`embhub-registry curate digest`: bytes that were withdrawn under every name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from embhub_registry.cli import options
from embhub_registry.cli.output import show

if TYPE_CHECKING:
    from embhub_registry.storage.folder import Registry


@click.group("digest")
def command() -> None:
    """List embeddings whose bytes were withdrawn, and allow them again."""


@command.command("list")
@options.as_json
@options.opened
def list_(registry: Registry, *, as_json: bool) -> None:
    """List embeddings, by SHA-256, that may not be published: by whom, and why."""
    from embhub_registry.repositories import allowing

    result = allowing.list_withdrawn(registry)
    lines = [f"{r['digest']}  {r['authority']:9}  {r['namespace']}  {r['reason']}" for r in result["withdrawn"]]
    show(result, *lines, as_json=as_json)


@command.command("allow")
@click.argument("digest")
@click.option("--reason", required=True, help="Reason, for the audit log.")
@options.as_json
@options.opened
def allow(registry: Registry, *, digest: str, reason: str, as_json: bool) -> None:
    """Allow the embedding with this SHA-256 again. Yanked releases stay yanked."""
    from embhub_registry.repositories import allowing

    result = allowing.allow(registry, digest, reason=reason)
    show(result, f"{digest} may be published again", as_json=as_json)
