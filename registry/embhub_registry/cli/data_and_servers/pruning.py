"""`embhub-registry storage prune`: delete data past its retention period."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from embhub_registry.cli import options
from embhub_registry.cli.output import show

if TYPE_CHECKING:
    from embhub_registry.storage.folder import Registry


@click.command("prune")
@click.option("--apply", "really", is_flag=True, help="Delete the data. Without this option: dry run.")
@options.as_json
@options.opened
def command(registry: Registry, *, really: bool, as_json: bool) -> None:
    """Delete old months of the audit log, deleted releases and expired access tokens."""
    from embhub_registry.repositories import retention

    result = retention.prune(registry, really=really)
    found = (
        f"{len(result['audit_segments'])} months of the audit log",
        f"{result['objects']} objects of deleted repositories ({result['bytes']:,} bytes)",
        f"{result['tokens']} expired access tokens",
    )
    left = [f"{result['waiting']} objects of deleted repositories are left to the server"] if result["waiting"] else []
    show(result, f"{'removed' if really else 'would remove'}: {', '.join(found)}", *left, as_json=as_json)
