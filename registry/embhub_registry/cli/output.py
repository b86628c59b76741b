"""How commands speak: one JSON document for machines, or lines for people, on standard output."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click


def show(result: dict[str, Any], *lines: str, as_json: bool) -> None:
    """A result for a machine or for a person."""
    click.echo(json.dumps(result, indent=2, ensure_ascii=False) if as_json else "\n".join(lines))


def ending(added: dict[str, Any]) -> str:
    """When a new access token ends, in words; one of an admin without an end is warned about, on standard error."""
    if added["expires"] is None and added["scope"] == "admin":
        click.echo(
            "warning: this access token of an admin never ends: whoever finds it administers the registry"
            " until `token revoke`", err=True,
        )  # fmt: skip
    return f"ends {added['expires'] or 'never'}"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of columns, each as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)] if rows else []
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
