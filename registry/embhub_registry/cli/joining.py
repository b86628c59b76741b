"""`embhub-registry storage join`: the folder of a further server."""

from __future__ import annotations

import click

from embhub_registry.cli import options
from embhub_registry.cli.output import show


@click.command("join")
@options.as_json
@click.pass_context
def command(context: click.Context, *, as_json: bool) -> None:
    """Make --dir the folder of a further server of the registry in --database, which `storage share` prepared.

    Copy the online keys there yourself: a server without the log's keys serves, and does not sign.

    \b
    Example:
      embhub-registry --dir hub --database postgresql://embhub@db.example.org/embhub storage join
    """
    from embhub_registry.operation import sharing

    done = sharing.join(options.data_folder(context), context.meta["database"])
    lines = [f"joined      {done['name']}", f"database    {done['database']}"]
    show(done, *lines, f"keys        copy the online keys to {done['keys']}", as_json=as_json)
