"""`embhub-registry token`: access tokens of accounts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from embhub_registry.cli import options
from embhub_registry.cli.output import ending, show, table

if TYPE_CHECKING:
    from embhub_registry.storage.folder import Registry


@click.group("token")
def command() -> None:
    """Access tokens: 256 random bits, stored as a digest."""


@command.command("new")
@click.argument("name")
@options.days
@options.scope
@click.option("--unlimited", is_flag=True, help="Exempt the access token from rate limits, for example for a mirror.")
@options.as_json
@options.opened
def new(registry: Registry, *, name: str, days: int | None, scope: str | None, unlimited: bool, as_json: bool) -> None:
    """Create another access token for the account NAME; it is shown once."""
    from embhub_registry.operation import administration

    result = administration.new_token(registry, name, days=days, scope=scope, unlimited=unlimited)
    show(result, f"token {result['token']}   (shown once)", ending(result), as_json=as_json)


@command.command("rotate")
@click.argument("token_id", metavar="ID")
@click.option("--grace-hours", type=options.HOURS, default=0.0, show_default=True,
              help="Grace period: hours for which the old access token stays valid.")  # fmt: skip
@options.as_json
@options.opened
def rotate(registry: Registry, *, token_id: str, grace_hours: float, as_json: bool) -> None:
    """Replace the access token with this ID by a new one: same account, scope and lifetime."""
    from embhub_registry.operation import administration

    result = administration.rotate_token(registry, token_id, grace_hours=grace_hours)
    show(result, f"token {result['token']}   (shown once)", f"the old one ends at {result['old_ends']}", ending(result),
         as_json=as_json)  # fmt: skip


@command.command("revoke")
@click.argument("which")
@options.as_json
@options.opened
def revoke(registry: Registry, *, which: str, as_json: bool) -> None:
    """Revoke an access token by its id or text, or all access tokens of an account."""
    from embhub_registry.operation import administration

    result = administration.revoke_token(registry, which)
    show(result, f"revoked {result['revoked']}", as_json=as_json)


@command.command("list")
@options.as_json
@options.opened
def list_(registry: Registry, *, as_json: bool) -> None:
    """List access tokens by id, with their end, never the secret; warn of an admin's without an end."""
    from embhub_registry.operation import administration

    result = administration.list_tokens(registry)
    rows = [
        (t["id"], t["user"], t["scope"], t["state"], f"ends {t['expires'] or 'never'}",
         f"last used {t['last_used'] or 'never'}")
        for t in result["tokens"]
    ]  # fmt: skip
    show(result, *table(rows), as_json=as_json)
    endless = [t["id"] for t in result["tokens"]
               if t["state"] == "good" and t["scope"] == "admin" and not t["expires"]]  # fmt: skip
    if endless:
        click.echo(f"warning: an admin's access token that never ends: {', '.join(endless)};"
                   " `token rotate ID` keeps its lifetime, so make a new one and revoke it", err=True)  # fmt: skip
