"""`embhub-registry user`: accounts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from embhub_registry.cli import options
from embhub_registry.cli.output import ending, show, table
from embhub_registry.people.roles import ROLES

if TYPE_CHECKING:
    from embhub_registry.storage.folder import Registry


@click.group("user")
def command() -> None:
    """Manage accounts, which may upload. (Signing keys decide which uploads are valid.)"""


@command.command("add")
@click.argument("name")
@click.option("--namespace", required=True, help="Namespace of the organisation; created if it does not exist.")
@click.option("--role", type=click.Choice(ROLES), required=True, help="Role of the account.")
@options.days
@options.scope
@options.as_json
@options.opened
def add(
    registry: Registry, *, name: str, namespace: str, role: str, days: int | None, scope: str | None, as_json: bool
) -> None:
    """Create an account and print its access token, once."""
    from embhub_registry.operation import administration

    result = administration.add_user(registry, name, namespace=namespace, role=role, days=days, scope=scope)
    line = f"{name}: {role} in {namespace}{_new(result)}"
    show(result, line, f"token {result['token']}   (shown once)", ending(result), as_json=as_json)


@command.command("list")
@options.as_json
@options.opened
def list_(registry: Registry, *, as_json: bool) -> None:
    """List accounts with their roles and the last use of an access token."""
    from embhub_registry.operation import administration

    result = administration.list_users(registry)
    rows = [
        (u["name"], _roles(u), "disabled" if u["disabled"] else f"last used {u['last_used'] or 'never'}")
        for u in result["users"]
    ]
    show(result, *table(rows), as_json=as_json)


@command.command("join")
@click.argument("name")
@click.option("--namespace", required=True, help="Namespace; created if it does not exist.")
@click.option("--role", type=click.Choice(ROLES), required=True, help="Role of the account in that namespace.")
@options.as_json
@options.opened
def join(registry: Registry, *, name: str, namespace: str, role: str, as_json: bool) -> None:
    """Give the account NAME a role in another namespace, or change its role in one of its own."""
    from embhub_registry.people import members

    result = members.join(registry, name, namespace=namespace, role=role)
    show(result, f"{name}: {role} in {namespace}{_new(result)}", as_json=as_json)


@command.command("leave")
@click.argument("name")
@click.option("--namespace", required=True, help="Namespace to leave; not the account's first.")
@options.as_json
@options.opened
def leave(registry: Registry, *, name: str, namespace: str, as_json: bool) -> None:
    """Remove the account NAME from a namespace."""
    from embhub_registry.people import members

    show(members.leave(registry, name, namespace=namespace), f"{name} has left {namespace}", as_json=as_json)


@command.command("login-link")
@click.argument("name")
@click.option("--minutes", type=click.IntRange(1, 1440), default=30, show_default=True, help="Lifetime of the link.")
@options.as_json
@options.opened
def login_link(registry: Registry, *, name: str, minutes: int, as_json: bool) -> None:
    """Print a link by which the account NAME logs in once in a browser, to set up a passkey or an app."""
    from embhub_registry.operation.facts import people_links

    result = people_links.make_login_link(registry, name, minutes=minutes)
    line = f"ends at {result['expires']}; give it to {name} alone: it logs in whoever opens it first"
    show(result, f"{result['link']}   (works once)", line, as_json=as_json)


@command.command("logout")
@click.argument("name")
@options.as_json
@options.opened
def logout(registry: Registry, *, name: str, as_json: bool) -> None:
    """Log the account NAME out of every browser; its access tokens stay valid."""
    from embhub_registry.operation.facts import people_links

    result = people_links.log_out(registry, name)
    show(result, f"{name}: {result['sessions']} sessions ended", as_json=as_json)


@command.command("mail")
@click.argument("name")
@click.argument("address", default="")
@options.as_json
@options.opened
def mail(registry: Registry, *, name: str, address: str, as_json: bool) -> None:
    """Set the mail ADDRESS of the account NAME, or remove it if there is none. The person chooses the events."""
    from embhub_registry.people import notifications

    result = notifications.set_address(registry, name, address)
    show(result, f"{name}: {result['mail'] or 'no mail'}", as_json=as_json)


@command.command("disable")
@click.argument("name")
@options.as_json
@options.opened
def disable(registry: Registry, *, name: str, as_json: bool) -> None:
    """Disable the account NAME and all its access tokens; its releases stay published."""
    from embhub_registry.people import members

    show(members.disable(registry, name), f"{name} is disabled", as_json=as_json)


@command.command("offboard")
@click.argument("name")
@click.option("--dry-run", is_flag=True, help="Show what would end and what would stay; change nothing.")
@click.option("--hand-over-to", "heir", metavar="USER", help="Account that becomes publisher where nobody else is.")
@click.option("--keep", is_flag=True, help="Leave such namespaces to their organisation, without a publisher.")
@click.option("--erase", is_flag=True, help="Put a pseudonym in place of the name, where that is possible.")
@click.option("--revoke-key", "keys", multiple=True, metavar="FINGERPRINT",
              help="Key of the person, revoked as superseded: earlier releases stay valid; repeatable.")  # fmt: skip
@options.as_json
@options.opened
def offboard(
    registry: Registry, *, name: str, dry_run: bool, heir: str | None, keep: bool, erase: bool, keys: tuple[str, ...],
    as_json: bool,
) -> None:  # fmt: skip
    """Let the account NAME leave: its access ends at once, its releases stay. Says what is kept of its name."""
    from embhub_registry.operation import leaving

    options_ = leaving.Choices(hand_over_to=heir, keep=keep, erase=erase, revoke=keys)
    result = leaving.offboard(registry, name, options_, dry_run=dry_run)
    show(result, *leaving.lines(result), as_json=as_json)


@command.command("enable")
@click.argument("name")
@options.as_json
@options.opened
def enable(registry: Registry, *, name: str, as_json: bool) -> None:
    """Enable the account NAME again."""
    from embhub_registry.people import members

    show(members.enable(registry, name), f"{name} is enabled", as_json=as_json)


def _new(result: dict[str, Any]) -> str:
    return ", a new namespace" if result["namespace_created"] else ""


def _roles(user: dict[str, Any]) -> str:
    return ", ".join(f"{role} in {namespace}" for namespace, role in user["memberships"].items())
