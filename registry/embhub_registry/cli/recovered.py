"""`embhub-registry backup recovered`: make a registry safe whose database was recovered to an earlier moment."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from embhub_registry.cli import options
from embhub_registry.cli.output import show

if TYPE_CHECKING:
    from embhub_registry.storage.folder import Registry


@click.command("recovered")
@click.option("--keep-tokens", is_flag=True, help="Keep access tokens in force, revoked ones of later included.")
@click.option("--keep-keyring", is_flag=True, help="Keep the keyring's version: for a test, not for serving.")
@options.newest_keyring
@options.as_json
@partial(options.opened, is_recovered=True)
def command(registry: Registry, *, keep_tokens: bool, keep_keyring: bool, keyring: Path | None, as_json: bool) -> None:
    """Run this once, before `serve`, after PostgreSQL's own tools recovered the database to an earlier moment.

    All access tokens are revoked and the keyring gets a higher version, as `backup restore` does. An object store that
    refuses the earlier database is taken over. The audit log continues in this folder.
    """
    from embhub_registry.operation.recovered import settle

    done = settle(registry, keep_tokens=keep_tokens, keep_keyring=keep_keyring, keyring=keyring)
    lines = [
        f"tokens      {done['tokens_revoked']} revoked: make new ones, `token new admin` first",
        f"keyring     version {done['keyring_version']}",
        "not in it   later changes; keys that were removed or revoked since are in a keyring that is newer (--keyring)",
    ]
    show(done, *lines, *(f"note        {line}" for line in done["told"]), as_json=as_json)
