"""`embhub-registry setting`: rate limits, quotas for all, retention, and what monitoring sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from embhub_registry.cli import options
from embhub_registry.cli.output import show, table

if TYPE_CHECKING:
    from embhub_registry.storage.folder import Registry


@click.group("setting")
def command() -> None:
    """Rate limits, quotas for all, retention, monitoring."""


@command.command("show")
@options.as_json
@options.opened
def show_(registry: Registry, *, as_json: bool) -> None:
    """Show every setting, its value and what it means."""
    from embhub_registry.storage import configuration

    result = configuration.list_all(registry)
    rows = [(s["name"], s["value"] or "-", s["meaning"]) for s in result["settings"]]
    show(result, *table(rows), as_json=as_json)


@command.command("set")
@click.argument("name")
@click.argument("value")
@options.as_json
@options.opened
def set_(registry: Registry, *, name: str, value: str, as_json: bool) -> None:
    """Choose VALUE for the setting NAME; a running server sees it within seconds."""
    from embhub_registry.storage import configuration

    show(configuration.write(registry, name, value), f"{name} is {value}", as_json=as_json)
