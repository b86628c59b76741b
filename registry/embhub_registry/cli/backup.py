"""`embhub-registry backup`: everything that makes the registry, in one file, while it serves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from embhub_registry.cli import options
from embhub_registry.cli.output import show

if TYPE_CHECKING:
    from embhub_registry.storage.folder import Registry


@click.command("backup")
@click.argument("file", type=options.FILE)
@options.as_json
@options.opened
def command(registry: Registry, *, file: Path, as_json: bool) -> None:
    """Write a backup of everything to FILE (a tar), also while the registry is serving.

    FILE contains the root key and the digests of all access tokens: protect it like the registry. `restore` checks it.
    """
    from embhub_registry.operation.backup import back_up

    made = back_up(registry, file)
    lines = [
        f"wrote       {made['file']}   (mode 0600)",
        f"holds       {made['blobs']:,} blobs, {made['bytes']:,} bytes, keyring version {made['keyring_version']}",
        "protect it  it contains the root key and every access token's digest",
    ]
    show(made, *lines, as_json=as_json)
