"""`embhub-registry invite`: codes by which sites make their accounts themselves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embhub_registry.cli import options
from embhub_registry.cli.output import show, table

if TYPE_CHECKING:
    from embhub_registry.storage.folder import Registry

_lifetime = click.option(
    "--expires-days", "days", type=click.IntRange(1, 90), default=14, show_default=True,
    help="Lifetime of the invitations, in days.",
)  # fmt: skip
_token = click.option(
    "--token-days", type=click.IntRange(1, 366), default=90, show_default=True,
    help="Lifetime of the access token that each gives, in days.",
)  # fmt: skip


@click.group("invite")
def command() -> None:
    """Invite sites: each code makes one account, once, in one namespace."""


@command.command("make")
@click.option("--namespace", required=True, help="Namespace of the organisation; made when the first joins.")
@click.option(
    "--role", type=click.Choice(("reader", "publisher", "auditor")), required=True, help="Role of the accounts."
)
@click.option("--count", type=click.IntRange(1, 500), default=1, show_default=True, help="Number of invitations.")
@_lifetime
@_token
@options.as_json
@options.opened
def make(
    registry: Registry, *, namespace: str, role: str, count: int, days: int, token_days: int, as_json: bool
) -> None:
    """Make invitations for one organisation and print them, once."""
    from embhub_registry.people import invites

    wanted = [invites.Wanted(namespace, role, invites.new_name(namespace)) for _ in range(count)]
    _show(invites.make(registry, wanted, days=days, token_days=token_days), as_json=as_json)


@command.command("table")
@click.argument("file", type=options.FILE)
@_lifetime
@_token
@options.as_json
@options.opened
def table_(registry: Registry, *, file: Path, days: int, token_days: int, as_json: bool) -> None:
    """Make an invitation for each row of FILE, CSV with the columns namespace, role and account (may be left out)."""
    from embhub_registry.people import invites

    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeError) as error:
        raise click.UsageError(f"cannot read {file} as UTF-8 text") from error
    _show(invites.make(registry, invites.read_table(text), days=days, token_days=token_days), as_json=as_json)


@command.command("list")
@options.as_json
@options.opened
def list_(registry: Registry, *, as_json: bool) -> None:
    """List invitations and whether they were used; never a code."""
    from embhub_registry.people import invites

    result = invites.list_all(registry)
    rows = [
        (row["id"], row["account"], f"{row['role']} in {row['namespace']}", row["state"], row["expires"])
        for row in result["invites"]
    ]
    show(result, *table(rows), as_json=as_json)


@command.command("revoke")
@click.argument("invite_id", metavar="ID")
@options.as_json
@options.opened
def revoke(registry: Registry, *, invite_id: str, as_json: bool) -> None:
    """End an invitation that was not used yet."""
    from embhub_registry.people import invites

    show(invites.revoke(registry, invite_id), f"{invite_id} is revoked", as_json=as_json)


def _show(made: list[dict[str, Any]], *, as_json: bool) -> None:
    lines = [
        f"{row['account']}: {row['role']} in {row['namespace']}\n  embhub login --invite {row['invite']}"
        for row in made
    ]
    lines.append(f"each works once, until {made[0]['expires']}; give each to its owner alone")
    show({"invites": made}, *lines, as_json=as_json)
