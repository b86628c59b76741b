"""`embhub-registry storage share`: many servers over one database and one object store, or one server again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from embhub_registry.cli import options
from embhub_registry.cli.output import show

if TYPE_CHECKING:
    from embhub_registry.storage.folder import Registry


@click.command("share")
@click.option("--off", is_flag=True, help="One server at a time again; the audit log goes back into files.")
@options.as_json
@options.opened
def command(registry: Registry, *, off: bool, as_json: bool) -> None:
    """Let any number of servers serve a registry on PostgreSQL and an object store. Stop the server first.

    The lines of the audit log go into the database, where all servers write them in one order. `storage join` makes
    the folders of further servers.
    """
    from embhub_registry.operation import sharing

    done = (sharing.unshare if off else sharing.share)(registry)
    several = "any number of servers may serve it: `storage join` makes their folders"
    lines = [several if done["shared"] else "one server again"]
    lines += [f"kept        {name}   (its lines are in the database)" for name in done["kept"]]
    show(done, *lines, as_json=as_json)
