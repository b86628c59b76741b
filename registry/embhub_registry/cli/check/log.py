"""`embhub-registry log`: the transparency log, its key and its witnesses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from embhub_registry.cli import options
from embhub_registry.cli.output import show

if TYPE_CHECKING:
    from embhub_registry.storage.folder import Registry


@click.group("log")
def command() -> None:
    """Show and repair the transparency log, and choose its witnesses."""


@command.command("show")
@options.as_json
@options.opened
def show_(registry: Registry, *, as_json: bool) -> None:
    """Show the log's key, its size and its witnesses."""
    from embhub_registry.operation.background import log_keeping

    result = log_keeping.describe(registry)
    here = "" if result["key_is_here"] else "   (the key is not in --online-keys: nothing is signed here)"
    lines = [f"witness  {row['vkey']} {row['url']} cosigned {row['cosigned']:,}" for row in result["witnesses"]]
    signed = f"entries  {result['entries']:,}, signed {result['signed']:,}"
    second = f"mldsa    {result['mldsa'][:60]}…" if result["mldsa"] else "mldsa    none"
    show(result, f"log      {result['vkey'] or 'none'}{here}", second, signed, *lines, as_json=as_json)


@command.command("begin")
@click.option("--anew", is_flag=True, help="Begin a new log under a new key, although there is one.")
@options.as_json
@options.opened
def begin(registry: Registry, *, anew: bool, as_json: bool) -> None:
    """Make the log's keys and name them in the next keyring.

    A registry has a log from the start. A log without an ML-DSA-44 key gets one. --anew is for a registry that was
    restored from a backup: its old key signed entries that the backup lacks.
    """
    from embhub_registry.operation.background import log_keeping

    result = log_keeping.begin(registry, anew=anew)
    state = "is pending until the root signs it: `keyring propose`" if result["pending"] else "names it"
    show(result, f"log      {result['vkey']}", f"keyring version {result['keyring_version']} {state}", as_json=as_json)


@command.command("repair")
@options.as_json
@options.opened
def repair(registry: Registry, *, as_json: bool) -> None:
    """Write every tile of the log again, from the database."""
    from embhub_registry.storage.log import registry_log

    size = registry_log.repair(registry)
    show({"entries": size}, f"wrote the files of {size:,} entries", as_json=as_json)


@command.command("witness")
@click.argument("vkey")
@click.option("--url", default="", help="Address to ask for cosignatures; without it the witness comes by itself.")
@click.option("--remove", is_flag=True, help="Accept no cosignatures of this witness any more.")
@options.as_json
@options.opened
def witness(registry: Registry, *, vkey: str, url: str, remove: bool, as_json: bool) -> None:
    """Accept the cosignatures of a witness, by its verifier key."""
    from embhub_registry.operation.background import log_keeping

    result = log_keeping.remove_witness(registry, vkey) if remove else log_keeping.add_witness(registry, vkey, url)
    show(result, f"{'removed' if remove else 'accepted'} {vkey}", as_json=as_json)
