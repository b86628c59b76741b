"""`embhub login`: store, show and forget a registry's access token, readable only by its owner; join a registry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from embhub.cli import options
from embhub.cli.output import print_json, print_pairs, print_result
from embhub.cli.publish import joining

if TYPE_CHECKING:
    from embhub.client.account.device_login import Prompt


@click.command("login", short_help="Log in to a registry, or join it by an invitation.")
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
@joining.invitation
@click.option(
    "--show", is_flag=True, help="Show the account, its namespaces and roles, and where its token comes from."
)
@click.option(
    "--forget",
    is_flag=True,
    help="Remove the stored access token. It stays valid until it expires, or is revoked at the registry.",
)
@options.as_json
def command(*, show: bool, forget: bool, as_json: bool, invite: str | None, **choices: Any) -> None:
    """Check an access token with its registry and store it (mode 0600), with the namespace it may publish under.

    Without --access-token the command prompts on a terminal; otherwise it reads one line of standard input. With
    --device it prints an address and a code, and waits until you approve in a browser where you are logged in. With
    --workload it logs in as a CI job that the registry trusts, by the OIDC token in EMBHUB_ID_TOKEN or GitHub's.

    With --invite it pins the registry's root key and makes your account there, by the invitation that its operator
    sent. An invitation works once. The site becomes a witness of the registry's log, and its log policy names this
    witness if it names none. Then the policy `strict` works from the first day, for what the log held at the last
    round of `embhub log watch --cosign`. It shows that your site is always shown one history of the log.

    \b
    Example:
      embhub login --registry https://embhub.example.org
      embhub login --registry https://embhub.example.org --device --scope publish
      embhub login --registry https://embhub.example.org --workload radboud/prostate-cspca
      embhub login --invite
      embhub login --show
      embhub login --forget --registry https://embhub.example.org
    """
    _check(invite=invite, show=show, forget=forget, **choices)
    if invite:
        joining.join_by(invite, no_witness=choices["no_witness"], as_json=as_json)
    elif show:
        _print_account(choices["registry"], as_json=as_json)
    else:
        print_result(_forget(choices["registry"]) if forget else _log_in(**choices), as_json=as_json)


def _check(*, registry: str | None, invite: str | None, no_witness: bool, **choices: Any) -> None:
    ways = ("access_token", "device", "workload", "show", "forget")
    if sum(map(bool, (invite, *(choices[name] for name in ways)))) > 1:
        raise click.UsageError("--access-token, --device, --workload, --invite, --show and --forget exclude each other")
    if invite and registry:
        raise click.UsageError("an invitation names its registry: leave out --registry")
    if no_witness and not invite:
        raise click.UsageError("--no-witness needs --invite")


def _print_account(registry: str | None, *, as_json: bool) -> None:
    from embhub.client.account.logins import describe_account

    facts = describe_account(registry)
    if as_json:
        print_json(facts)
        return
    held = ", ".join(f"{name} ({role})" for name, role in facts.pop("roles").items())
    print_pairs({**facts, "namespaces": held or "none"})


def _forget(registry: str | None) -> dict[str, Any]:
    from embhub.client.account.logins import log_out

    return log_out(registry)


def _log_in(
    *, registry: str | None, access_token: str | None, device: bool, workload: str | None, scope: str, days: int,
    **_invitation: Any,
) -> dict[str, Any]:  # fmt: skip
    from embhub.client.account import accounts, device_login, workload_login

    if workload:
        account, path = workload_login.log_in(registry, repository=workload)
    elif device:
        account, path = device_login.log_in(registry, scope=scope, days=days, show=_show)
    else:
        account, path = accounts.log_in(registry, token=access_token or options.ask_secret("Access token"))
    return {"account": account.name, "namespaces": account.in_words(), "kept in": path}


def _show(prompt: Prompt) -> None:
    click.echo(f"Open   {prompt.address}", err=True)
    click.echo(f"Code   {prompt.code}   (compare it in the browser before you approve)", err=True)
    click.echo(f"Waiting for {prompt.seconds // 60} minutes at most …", err=True)
