"""`embhub-registry storage take-blobs-over`: use an object store's place again, after a copy used it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from embhub_registry.cli import options
from embhub_registry.cli.output import show

if TYPE_CHECKING:
    from embhub_registry.storage.folder import Registry


@click.command("take-blobs-over")
@options.as_json
@options.opened
def command(registry: Registry, *, as_json: bool) -> None:
    """Use the object store's place here again, after a copy of this registry used it.

    Stop the copy first: from now on it is refused. Objects that this database does not know are removed by its next
    sweep, once they are older than the grace.
    """
    from embhub_registry.storage import blob_places

    blob_places.take_over(registry.blobs, registry.database)
    registry.audit_log.write("blobs-taken-over", place=str(registry.blobs.location))
    done = {"place": str(registry.blobs.location)}
    show(done, f"taken over  {done['place']}", as_json=as_json)
