"""`embhub login`: store a registry's access token, readable only by its owner."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from embhub.cli import options
from embhub.cli.output import print_result

if TYPE_CHECKING:
    from embhub.client.account.device_login import Prompt


@click.command("login", short_help="Store a registry's access token.")
@options.registry
@click.option(
    "--access-token", metavar="TOKEN",
    help="Access token. Omit it to be prompted, which keeps it out of the shell's history.",
)  # fmt: skip
@click.option("--device", is_flag=True, help="Ask for an access token that you approve in a browser.")
@click.option(
    "--workload", metavar="NAMESPACE/NAME",
    help="In a CI job: exchange the job's OIDC token for an access token of this repository, for 15 minutes.",
)  # fmt: skip
@click.option(
    "--scope", type=click.Choice(("read", "publish", "admin")), default="read", show_default=True,
    help="Scope of the access token that --device asks for.",
)  # fmt: skip
@click.option(
    "--expires-days", "days", type=click.IntRange(1, 366), default=90, show_default=True,
    help="Lifetime of the access token that --device asks for, in days.",
)  # fmt: skip
@options.as_json
def command(
    registry: str | None, access_token: str | None, device: bool, workload: str | None, scope: str, days: int,
    as_json: bool,
) -> None:  # fmt: skip
    """Check an access token with its registry and store it (mode 0600), with the namespace it may publish under.

    Without --access-token the command prompts on a terminal; otherwise it reads one line of standard input. With
    --device it prints an address and a code, and waits until you approve in a browser where you are logged in. With
    --workload it logs in as a CI job that the registry trusts, by the OIDC token in EMBHUB_ID_TOKEN or GitHub's.

    \b
    Example:
      embhub login --registry https://embhub.example.org
      embhub login --registry https://embhub.example.org --device --scope publish
      embhub login --registry https://embhub.example.org --workload radboud/prostate-cspca
    """
    from embhub.client.account import accounts, device_login, workload_login

    if sum(map(bool, (access_token, device, workload))) > 1:
        raise click.UsageError("--access-token, --device and --workload exclude each other")
    if workload:
        account, path = workload_login.log_in(registry, repository=workload)
    elif device:
        account, path = device_login.log_in(registry, scope=scope, days=days, show=_show)
    else:
        account, path = accounts.log_in(registry, token=access_token or options.ask_secret("Access token"))
    facts = {"account": account.name, "namespaces": account.in_words(), "kept in": path}
    print_result(facts, as_json=as_json)


def _show(prompt: Prompt) -> None:
    click.echo(f"Open   {prompt.address}", err=True)
    click.echo(f"Code   {prompt.code}   (compare it in the browser before you approve)", err=True)
    click.echo(f"Waiting for {prompt.seconds // 60} minutes at most …", err=True)
