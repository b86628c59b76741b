"""`embhub-registry prune`: remove what is no longer kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from embhub_registry.cli import options
from embhub_registry.cli.output import show

if TYPE_CHECKING:
    from embhub_registry.storage.folder import Registry


@click.command("prune")
@click.option("--apply", "really", is_flag=True, help="Remove it. Without this, only say what would go.")
@options.as_json
@options.opened
def command(registry: Registry, *, really: bool, as_json: bool) -> None:
    """Remove what its setting no longer keeps: months of the audit log, bytes of deleted releases, ended tokens."""
    from embhub_registry.repositories import retention

    result = retention.prune(registry, really=really)
    found = [f"{len(result['audit_segments'])} months of the audit log", f"{result['objects']} objects of deleted"]
    found[-1] += " repositories"
    found.append(f"{result['tokens']} ended tokens")
    show(result, f"{'removed' if really else 'would remove'}: {', '.join(found)}", as_json=as_json)
