"""`embhub-registry quota`: storage quotas of namespaces."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from embhub_registry.cli import options
from embhub_registry.cli.output import show, table

if TYPE_CHECKING:
    from embhub_registry.storage.folder import Registry

LIMIT = "`none` applies the registry's default"


def _wanted(_context: click.Context, _parameter: click.Parameter, text: str | None) -> tuple[int | None] | None:
    """None where the option was not given, else a tuple of the limit."""
    from embhub_registry.storage.quotas import MOST_DIGITS

    if text is None:
        return None
    if text == "none":
        return (None,)
    if not text.isascii() or not text.isdigit() or len(text) > MOST_DIGITS:
        raise click.BadParameter(f"give a whole number of at most {MOST_DIGITS} digits, or none")
    return (int(text),)


@click.group("quota")
def command() -> None:
    """Quotas of single namespaces. Defaults for all namespaces: `setting`."""


@command.command("show")
@options.as_json
@options.opened
def show_(registry: Registry, *, as_json: bool) -> None:
    """Show usage and quota of each namespace."""
    from embhub_registry.storage import quotas

    result = quotas.list_all(registry)
    rows = [("namespace", *quotas.KINDS)]
    for row in result["namespaces"]:
        rows.append((row["namespace"], *(_of(row[kind]) for kind in quotas.KINDS)))
    show(result, *table(rows), as_json=as_json)


@command.command("set")
@click.argument("namespace")
@click.option("--bytes", "size", callback=_wanted, metavar="N", help=f"Maximum number of bytes; {LIMIT}.")
@click.option("--repositories", callback=_wanted, metavar="N", help=f"Maximum number of repositories; {LIMIT}.")
@click.option("--releases", callback=_wanted, metavar="N", help=f"Maximum number of releases; {LIMIT}.")
@options.as_json
@options.opened
def set_(
    registry: Registry,
    *,
    namespace: str,
    size: tuple[int | None] | None,
    repositories: tuple[int | None] | None,
    releases: tuple[int | None] | None,
    as_json: bool,
) -> None:
    """Set quotas for NAMESPACE; limits that are not named stay unchanged."""
    from embhub_registry.storage import quotas

    given = {"bytes": size, "repositories": repositories, "releases": releases}
    result = quotas.change(registry, namespace, {kind: value[0] for kind, value in given.items() if value})
    show(result, *(f"{kind:13} {_words(n)}" for kind, n in result["allowed"].items()), as_json=as_json)


def _of(row: dict[str, int | None]) -> str:
    return f"{row['used']:,} of {_words(row['allowed'])}"


def _words(limit: int | None) -> str:
    return "no limit" if limit is None else f"{limit:,}"
