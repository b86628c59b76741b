"""`embhub search`: what a registry offers."""

from __future__ import annotations

from dataclasses import asdict

import click

from embhub.cli import options
from embhub.cli.output import print_json, print_table, remark


@click.command("search", short_help="List what a registry offers.")
@click.argument("query", default="")
@click.option(
    "--limit", type=click.IntRange(1, 1000), metavar="N", default=50, show_default=True, help="Most lines to print."
)
@options.registry
@options.as_json
def command(query: str, limit: int, registry: str | None, as_json: bool) -> None:
    """List embeddings whose name, card or tags match QUERY; all of them without one.

    Each with its date, its audit's verdict and whose word that is, and its commit; all as the registry tells it.

    \b
    Example:
      embhub search prostate
    """
    from embhub.client.pulling import search

    found = search(query, limit=limit, registry=registry)
    if as_json:
        print_json([asdict(listing) for listing in found])
    elif found:
        print_table(
            [
                (listing.repository, listing.modified[:10], listing.audit or "-", listing.commit[:12])
                for listing in found
            ]
        )
    else:
        remark("nothing found")
