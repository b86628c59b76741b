"""`embhub-registry setting`: who may read, rate limits, default quotas, retention, monitoring."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from embhub_registry.cli import options
from embhub_registry.cli.output import show, table

if TYPE_CHECKING:
    from embhub_registry.storage.folder import Registry


@click.group("setting")
def command() -> None:
    """Settings: who may read, rate limits, default quotas, retention, monitoring."""


@command.command("show")
@options.as_json
@options.opened
def show_(registry: Registry, *, as_json: bool) -> None:
    """Show every setting with its value and meaning."""
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
    """Set NAME to VALUE; a running server applies it within seconds."""
    from embhub_registry.storage import configuration

    show(configuration.write(registry, name, value), f"{name} is {value}", as_json=as_json)
