"""`embhub-registry storage`: where the database is, and which servers share it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from embhub_registry.cli import options
from embhub_registry.cli.output import show

if TYPE_CHECKING:
    from embhub_registry.storage.folder import Registry


@click.command("move")
@click.option("--to", required=True, metavar="URL", envvar="EMBHUB_REGISTRY_MOVE_TO",
              help="postgresql://… of an empty database or schema, or `sqlite` for a file in --dir.")  # fmt: skip
@options.as_json
@options.opened
def move(registry: Registry, *, to: str, as_json: bool) -> None:
    """Move the database and the files of a stopped registry to a PostgreSQL server, or back into --dir.

    Rows and files are copied in one transaction, and compared before it counts. The place is noted in --dir, without
    a password. Keys and the audit log stay in --dir.

    \b
    Example:
      embhub-registry --dir hub storage move --to postgresql://embhub@db.example.org/embhub
    """
    from embhub_registry.cli import refuse_password_in
    from embhub_registry.operation.backups import moving

    refuse_password_in("to", to)
    done = moving.move(registry, to)
    lines = [
        f"moved       {done['rows']:,} rows of {len(done['tables'])} tables, each compared with what was read",
        f"            {done['files']:,} files, {done['file_bytes']:,} bytes, each compared with its digest",
        f"from        {done['from']}   (not used any more)",
        f"to          {done['to']}",
    ]
    if done["kept"]:
        lines.append(f"kept        {' and '.join(done['kept'])}   (remove once `check` is clean; keep them together)")
    show(done, *lines, as_json=as_json)


@click.command("share")
@click.option("--off", is_flag=True, help="One server at a time again; the audit log goes back into files.")
@options.as_json
@options.opened
def share(registry: Registry, *, off: bool, as_json: bool) -> None:
    """Let any number of servers serve a registry on PostgreSQL. Stop the server first.

    The lines of the audit log go into the database, where all servers write them in one order. `storage join` makes
    the folders of further servers.
    """
    from embhub_registry.operation.facts import sharing

    done = (sharing.unshare if off else sharing.share)(registry)
    several = "any number of servers may serve it: `storage join` makes their folders"
    lines = [several if done["shared"] else "one server again"]
    lines += [f"kept        {name}   (its lines are in the database)" for name in done["kept"]]
    show(done, *lines, as_json=as_json)


@click.command("join")
@click.option("--keys-from", type=options.FILE, metavar="FOLDER",
              help="Folder with the keys of another server; those that the keyring names are copied.")  # fmt: skip
@options.as_json
@click.pass_context
def join(context: click.Context, *, keys_from: Path | None, as_json: bool) -> None:
    """Make --dir the folder of a further server of the registry in --database, which `storage share` prepared.

    A server without the log's keys serves, and does not sign. Keys of another registry are refused, and a root key is
    never copied.

    \b
    Example:
      embhub-registry --dir hub --database postgresql://embhub@db.example.org/embhub storage join --keys-from keys
    """
    from embhub_registry.operation.facts import sharing
    from embhub_registry.operation.keyrings import server_keys

    places = {"keys_from": keys_from, "online_keys": context.meta["online_keys"]}
    done = sharing.join(options.data_folder(context), context.meta["database"], **places)
    lines = [f"joined      {done['name']}", f"database    {done['database']}"]
    lacking = [name for name in server_keys.FILES if name not in done["copied"]]
    if done["copied"]:
        lines.append(f"keys        {', '.join(done['copied'])} in {done['keys']}")
    if lacking:
        lines.append(f"not there   {', '.join(lacking)}: copy them to {done['keys']}, or another server signs")
    show(done, *lines, as_json=as_json)
