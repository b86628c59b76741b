"""`embhub-registry restore`: restore a backup into a new folder."""

from __future__ import annotations

from pathlib import Path

import click

from embhub_registry.cli import options
from embhub_registry.cli.output import show


@click.command("restore")
@click.argument("file", type=options.FILE)
@options.as_json
@click.pass_context
def command(context: click.Context, *, file: Path, as_json: bool) -> None:
    """Restore a backup into the new folder --dir; all data is checked before the folder gets its name.

    Changes after the backup are lost: an access token that was revoked since becomes valid again.
    """
    from embhub_registry.operation.restoring import restore

    made = restore(file, context.obj)
    lines = [
        f"restored    {made['dir']}: {made['name']}, {made['url']}",
        f"as of       {made['made']}: {made['blobs']:,} blobs, {made['revisions']:,} revisions, all read back",
        f"root key    {made['root_fingerprint']}, keyring version {made['keyring_version']}",
        "not in it   later changes: revoke again the access tokens and keys that were revoked since",
    ]
    show(made, *lines, *(f"note        {line}" for line in made["told"]), as_json=as_json)
