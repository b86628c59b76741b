"""`embhub-registry backup`: make and restore one, and go on from a database that was recovered otherwise."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
def make(registry: Registry, *, file: Path, recipients: tuple[str, ...], as_json: bool) -> None:
    """Write a signed backup of everything to FILE, also while the registry is serving.

    FILE contains the digests of all access tokens, and the root key where that is in the registry's folder: encrypt
    it with --recipient, or protect it like the registry. Write the printed fingerprint down elsewhere: `backup restore`
    asks for it.
    """
    from embhub_registry.operation.backups.backup import back_up

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
def restore(context: click.Context, /, *, file: Path, as_json: bool, **choices: Any) -> None:
    """Restore a backup into the new folder --dir; all data is checked before the folder gets its name.

    All access tokens are revoked, because some may have been revoked since the backup. The keyring gets a higher
    version, so that sites that saw a newer one accept it.
    """
    from embhub_registry.operation.backups import restoring

    made = restoring.restore(file, options.data_folder(context), **choices)
    lines = [
        f"restored    {made['dir']}: {made['name']}, {made['url']}",
        f"as of       {made['made']}: {made['blobs']:,} blobs, {made['revisions']:,} revisions, all read back",
        f"signed by   {made['signed_by'] or 'not checked'}",
        f"root key    {made['root_fingerprint']}, keyring version {made['keyring_version']}",
        f"tokens      {made['tokens_revoked']} revoked: make new ones, `token new admin` first",
        "not in it   later changes; keys that were removed or revoked since are in a keyring that is newer (--keyring)",
    ]
    show(made, *lines, *(f"note        {line}" for line in made["told"]), as_json=as_json)


@click.command("recovered")
@click.option("--keep-tokens", is_flag=True, help="Keep access tokens in force, revoked ones of later included.")
@click.option("--keep-keyring", is_flag=True, help="Keep the keyring's version: for a test, not for serving.")
@options.newest_keyring
@options.as_json
@partial(options.opened, is_recovered=True)
def recovered(
    registry: Registry, *, keep_tokens: bool, keep_keyring: bool, keyring: Path | None, as_json: bool
) -> None:
    """Run this once, before `serve`, after PostgreSQL's own tools recovered the database to an earlier moment.

    All access tokens are revoked and the keyring gets a higher version, as `backup restore` does. The audit log
    continues in this folder.
    """
    from embhub_registry.operation.backups.recovered import settle

    done = settle(registry, keep_tokens=keep_tokens, keep_keyring=keep_keyring, keyring=keyring)
    lines = [
        f"tokens      {done['tokens_revoked']} revoked: make new ones, `token new admin` first",
        f"keyring     version {done['keyring_version']}",
        "not in it   later changes; keys that were removed or revoked since are in a keyring that is newer (--keyring)",
    ]
    show(done, *lines, *(f"note        {line}" for line in done["told"]), as_json=as_json)
