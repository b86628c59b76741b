"""`embhub whoami`: whose access token is at hand."""

from __future__ import annotations

import click

from embhub.cli import options
from embhub.cli.output import print_json, print_pairs


@click.command("whoami", short_help="Show the account of the access token.")
@options.registry
@options.as_json
def command(registry: str | None, as_json: bool) -> None:
    """Show the account at a registry, its namespaces with its roles, and where its access token comes from.

    The token itself is not shown.

    \b
    Example:
      embhub whoami
    """
    from embhub.client.account.logins import describe_account

    facts = describe_account(registry)
    if as_json:
        print_json(facts)
        return
    held = ", ".join(f"{name} ({role})" for name, role in facts.pop("roles").items())
    print_pairs({**facts, "namespaces": held or "none"})
