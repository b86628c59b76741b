"""`embhub-registry user`: accounts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from embhub_registry.cli import options
from embhub_registry.cli.output import show, table
from embhub_registry.people.roles import ROLES

if TYPE_CHECKING:
    from embhub_registry.storage.folder import Registry


@click.group("user")
def command() -> None:
    """Accounts: who may upload. (A key decides what counts.)"""


@command.command("add")
@click.argument("name")
@click.option("--namespace", required=True, help="The organisation's namespace; made where it is new.")
@click.option("--role", type=click.Choice(ROLES), required=True, help="What the account may do.")
@options.days
@options.scope
@options.as_json
@options.opened
def add(
    registry: Registry, *, name: str, namespace: str, role: str, days: int | None, scope: str | None, as_json: bool
) -> None:
    """Create an account and print its token, once."""
    from embhub_registry.operation import administration

    result = administration.add_user(registry, name, namespace=namespace, role=role, days=days, scope=scope)
    show(result, f"{name}: {role} in {namespace}", f"token {result['token']}   (shown once)", as_json=as_json)


@command.command("list")
@options.as_json
@options.opened
def list_(registry: Registry, *, as_json: bool) -> None:
    """Show accounts, roles and when a token was last used."""
    from embhub_registry.operation import administration

    result = administration.list_users(registry)
    rows = [
        (u["name"], _roles(u), "disabled" if u["disabled"] else f"last used {u['last_used'] or 'never'}")
        for u in result["users"]
    ]
    show(result, *table(rows), as_json=as_json)


@command.command("join")
@click.argument("name")
@click.option("--namespace", required=True, help="The namespace; made where it is new.")
@click.option("--role", type=click.Choice(ROLES), required=True, help="What the account may do there.")
@options.as_json
@options.opened
def join(registry: Registry, *, name: str, namespace: str, role: str, as_json: bool) -> None:
    """Give the account NAME a role in a further namespace, or another role in one of its own."""
    from embhub_registry.people import members

    show(members.join(registry, name, namespace=namespace, role=role), f"{name}: {role} in {namespace}",
         as_json=as_json)  # fmt: skip


@command.command("leave")
@click.argument("name")
@click.option("--namespace", required=True, help="A namespace that is not the account's first.")
@options.as_json
@options.opened
def leave(registry: Registry, *, name: str, namespace: str, as_json: bool) -> None:
    """Take the account NAME out of a namespace."""
    from embhub_registry.people import members

    show(members.leave(registry, name, namespace=namespace), f"{name} has left {namespace}", as_json=as_json)


@command.command("disable")
@click.argument("name")
@options.as_json
@options.opened
def disable(registry: Registry, *, name: str, as_json: bool) -> None:
    """Shut the account NAME out, with all its tokens; what it published stays."""
    from embhub_registry.people import members

    show(members.disable(registry, name), f"{name} is shut out", as_json=as_json)


@command.command("enable")
@click.argument("name")
@options.as_json
@options.opened
def enable(registry: Registry, *, name: str, as_json: bool) -> None:
    """Let the account NAME in again."""
    from embhub_registry.people import members

    show(members.enable(registry, name), f"{name} may come in again", as_json=as_json)


def _roles(user: dict[str, Any]) -> str:
    return ", ".join(f"{role} in {namespace}" for namespace, role in user["memberships"].items())
