"""`embhub-registry trust`: what sites pin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from embhub_registry.cli import options

if TYPE_CHECKING:
    from embhub_registry.storage.folder import Registry


@click.group("trust")
def command() -> None:
    """What sites pin."""


@command.command("export")
@click.option("--json", is_flag=True, expose_value=False, help="The document is JSON either way.")
@options.opened
def export(registry: Registry) -> None:
    """Print the root's public key and the signed keyring, for `embhub trust add`."""
    click.echo(registry.trust_export().decode(), nl=False)
