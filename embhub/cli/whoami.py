"""`embhub whoami`: whose access token is at hand."""

from __future__ import annotations

import click

from embhub.cli import options
from embhub.cli.output import print_json, print_pairs


@click.command("whoami", short_help="Show the account of the access token.")
@options.registry
@options.as_json
def command(registry: str | None, as_json: bool) -> None:
    """Show the account at a registry, its namespaces, and where its access token comes from. The token is not shown.

    \b
    Example:
      embhub whoami
    """
    from embhub.client.account.logins import describe_account

    facts = describe_account(registry)
    print_json(facts) if as_json else print_pairs(facts | {"namespaces": ", ".join(facts["namespaces"]) or "none"})
