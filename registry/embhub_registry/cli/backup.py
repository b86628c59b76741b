"""`embhub-registry backup make`: everything that makes the registry, in one file, while it serves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from embhub_registry.cli import options
from embhub_registry.cli.output import show

if TYPE_CHECKING:
    from embhub_registry.storage.folder import Registry


@click.command("make")
@click.argument("file", type=options.FILE)
@click.option("--recipient", "recipients", multiple=True, metavar="PUBLIC-KEY",
              help="Encrypt to this public key: age1… or ssh-ed25519 …; repeatable.")  # fmt: skip
@options.as_json
@options.opened
def command(registry: Registry, *, file: Path, recipients: tuple[str, ...], as_json: bool) -> None:
    """Write a signed backup of everything to FILE, also while the registry is serving.

    FILE contains the digests of all access tokens, and the root key where that is in the registry's folder: encrypt
    it with --recipient, or protect it like the registry. Write the printed fingerprint down elsewhere: `backup restore`
    asks for it.
    """
    from embhub_registry.operation.backup import back_up

    made = back_up(registry, file, recipients=recipients)
    secrets = "the root key and every access token's digest" if made["root_key"] else "every access token's digest"
    lines = [
        f"wrote       {made['file']}   (mode 0600)",
        f"holds       {made['blobs']:,} blobs, {made['bytes']:,} bytes, keyring version {made['keyring_version']}",
        f"signed by   {made['signed_by']}   (keep it elsewhere: backup restore --signed-by asks for it)",
        "encrypted   to the public keys given: only their owners can restore it"
        if made["encrypted"]
        else f"protect it  it contains {secrets}, not encrypted",
    ]
    show(made, *lines, as_json=as_json)
