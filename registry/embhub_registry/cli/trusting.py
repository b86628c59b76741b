"""`embhub-registry trust`: the root key and keyring that sites pin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from embhub_registry.cli import options

if TYPE_CHECKING:
    from embhub_registry.storage.folder import Registry


@click.group("trust")
def command() -> None:
    """Export the root key and keyring that sites pin."""


@command.command("export")
@click.option("--json", is_flag=True, expose_value=False, help="No effect: the output is always JSON.")
@options.opened
def export(registry: Registry) -> None:
    """Print the public root key and the signed keyring, for `embhub trust add`."""
    click.echo(registry.trust_export().decode(), nl=False)
