"""`embhub login`: keep a registry's token, for the owner alone."""

from __future__ import annotations

import click

from embhub.cli import options
from embhub.cli.output import print_pairs, remark


@click.command("login", short_help="Keep a registry's token.")
@options.registry
@click.option(
    "--token", metavar="TOKEN", help="The token; without it you are asked, which keeps it out of the shell's history."
)
def command(registry: str | None, token: str | None) -> None:
    """Check a token with its registry and keep it (mode 0600), with the namespace it may publish under.

    Without --token you are asked on a terminal; elsewhere one line of standard input is read.

    \b
    Example:
      embhub login --registry https://embhub.example.org
    """
    from embhub.client.accounts import log_in

    account, path = log_in(registry, token=token or options.ask_secret("Token"))
    print_pairs({"account": account.name, "namespaces": ", ".join(account.namespaces), "kept in": path})
    if registry and registry.startswith("http://") and "127.0.0.1" not in registry and "localhost" not in registry:
        remark("warning: without https everybody on the way can read the token")
