"""`embhub-registry restore`: a registry from its backup, in a new folder."""

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
    """Make the new folder of --dir from a backup; read back whole before it gets its name.

    What happened after the backup is not in it: a token that was revoked since opens the door again.
    """
    from embhub_registry.operation.restoring import restore

    made = restore(file, context.obj)
    lines = [
        f"restored    {made['dir']}: {made['name']}, {made['url']}",
        f"as of       {made['made']}: {made['blobs']:,} blobs, {made['revisions']:,} revisions, all read back",
        f"root key    {made['root_fingerprint']}, keyring version {made['keyring_version']}",
        "not in it   what happened since: revoke again the tokens and keys that were revoked after it",
    ]
    show(made, *lines, *(f"note        {line}" for line in made["told"]), as_json=as_json)
