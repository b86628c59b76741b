"""`embhub-registry backup restore`: restore a backup into a new folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from embhub_registry.cli import options
from embhub_registry.cli.output import show


@click.command("restore")
@click.argument("file", type=options.FILE)
@click.option("--signed-by", metavar="SHA256:…|FILE", help="Fingerprint or public key of the key that signed it.")
@click.option("--identity", type=options.FILE, help="File with the key that decrypts it (age-keygen, ssh-keygen).")
@click.option("--unauthenticated", is_flag=True, help="Accept a backup without checking who made it.")
@click.option("--keep-tokens", is_flag=True, help="Keep access tokens in force, revoked ones of later included.")
@click.option("--keep-keyring", is_flag=True, help="Keep the keyring's version: for a test, not for serving.")
@options.newest_keyring
@options.as_json
@click.pass_context
def command(context: click.Context, /, *, file: Path, as_json: bool, **choices: Any) -> None:
    """Restore a backup into the new folder --dir; all data is checked before the folder gets its name.

    All access tokens are revoked, because some may have been revoked since the backup. The keyring gets a higher
    version, so that sites that saw a newer one accept it.
    """
    from embhub_registry.operation.restoring import restore

    made = restore(file, options.data_folder(context), blobs=context.meta["blobs"], **choices)
    lines = [
        f"restored    {made['dir']}: {made['name']}, {made['url']}",
        f"as of       {made['made']}: {made['blobs']:,} blobs, {made['revisions']:,} revisions, all read back",
        f"signed by   {made['signed_by'] or 'not checked'}",
        f"root key    {made['root_fingerprint']}, keyring version {made['keyring_version']}",
        f"tokens      {made['tokens_revoked']} revoked: make new ones, `token new admin` first",
        "not in it   later changes; keys that were removed or revoked since are in a keyring that is newer (--keyring)",
    ]
    show(made, *lines, *(f"note        {line}" for line in made["told"]), as_json=as_json)
