"""`embhub-registry storage move`: the database to a server, and back into the folder."""

from __future__ import annotations

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
def command(registry: Registry, *, to: str, as_json: bool) -> None:
    """Move the database of a stopped registry to a PostgreSQL server, or back into --dir.

    Every row is copied in one transaction, and every table compared before it counts. The place is noted in --dir,
    without a password. Blobs, keys and the audit log stay in --dir.

    \b
    Example:
      embhub-registry --dir hub storage move --to postgresql://embhub@db.example.org/embhub
    """
    from embhub_registry.cli import refuse_password_in
    from embhub_registry.operation.moving import move

    refuse_password_in("to", to)
    done = move(registry, to)
    lines = [
        f"moved       {done['rows']:,} rows of {len(done['tables'])} tables, each compared with what was read",
        f"from        {done['from']}   (not used any more)",
        f"to          {done['to']}",
    ]
    if done["kept"]:
        lines.append(f"kept        {' and '.join(done['kept'])}   (remove once `check` is clean; keep them together)")
    show(done, *lines, as_json=as_json)
