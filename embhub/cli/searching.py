"""`embhub search`: list the embeddings of a registry."""

from __future__ import annotations

from dataclasses import asdict

import click

from embhub.cli import options
from embhub.cli.output import print_json, print_table, remark


@click.command("search", short_help="Search a registry for embeddings.")
@click.argument("query", default="")
@click.option(
    "--limit",
    type=click.IntRange(1, 1000),
    metavar="N",
    default=50,
    show_default=True,
    help="Maximum number of results.",
)
@options.registry
@options.as_json
def command(query: str, limit: int, registry: str | None, as_json: bool) -> None:
    """List embeddings whose name, card or tags match QUERY; without QUERY, all of them.

    Each line has the date, the audit's verdict and its source, and the commit, as reported by the registry.

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
