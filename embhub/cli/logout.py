"""`embhub logout`: forget a registry's access token."""

from __future__ import annotations

import click

from embhub.cli import options
from embhub.cli.output import print_result


@click.command("logout", short_help="Forget a registry's access token.")
@options.registry
@options.as_json
def command(registry: str | None, as_json: bool) -> None:
    """Remove the access token that `embhub login` stored for a registry.

    The token stays valid at the registry until it expires. If somebody else may have it, have it revoked there.

    \b
    Example:
      embhub logout --registry https://embhub.example.org
    """
    from embhub.client.account.logins import log_out

    print_result(log_out(registry), as_json=as_json)
