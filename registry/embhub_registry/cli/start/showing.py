"""`embhub-registry show`: the registry at a glance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from embhub_registry.cli import options
from embhub_registry.cli.output import show, table

if TYPE_CHECKING:
    from embhub_registry.storage.folder import Registry


@click.command("show")
@options.as_json
@options.opened
def command(registry: Registry, *, as_json: bool) -> None:
    """Show the registry's name, URL, root key fingerprint, keyring version and counts.

    Sites need URL and fingerprint for `embhub trust add`. Send the fingerprint by another route than the registry.
    """
    from embhub_registry.operation.facts import overview

    facts = overview.describe(registry)
    rows = [
        ("name", facts["name"]), ("url", facts["url"]), ("root key", facts["root_fingerprint"]),
        ("keyring", f"version {facts['keyring_version']} of {facts['keyring_issued'][:10]}"),
        ("audit report", facts["audit"]), ("created", facts["created"][:10]), ("software", facts["software"]),
        *((kind.replace("_", " "), f"{count:,}") for kind, count in facts["counts"].items()),
    ]  # fmt: skip
    show(facts, *table(rows), as_json=as_json)
