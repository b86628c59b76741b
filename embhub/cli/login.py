"""`embhub login`: store a registry's access token, readable only by its owner."""

from __future__ import annotations

import click

from embhub.cli import options
from embhub.cli.output import print_result


@click.command("login", short_help="Store a registry's access token.")
@options.registry
@click.option(
    "--access-token", metavar="TOKEN",
    help="Access token. Omit it to be prompted, which keeps it out of the shell's history.",
)  # fmt: skip
@options.as_json
def command(registry: str | None, access_token: str | None, as_json: bool) -> None:
    """Check an access token with its registry and store it (mode 0600), with the namespace it may publish under.

    Without --access-token the command prompts on a terminal; otherwise it reads one line of standard input.

    \b
    Example:
      embhub login --registry https://embhub.example.org
    """
    from embhub.client.accounts import log_in

    account, path = log_in(registry, token=access_token or options.ask_secret("Access token"))
    facts = {"account": account.name, "namespaces": ", ".join(account.namespaces), "kept in": path}
    print_result(facts, as_json=as_json)
