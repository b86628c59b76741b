"""Before a key creates a namespace, its operator is asked: a typing error would otherwise make one in silence."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from embhub.errors import UsageError

if TYPE_CHECKING:
    from embhub_registry.storage.folder import Registry

NAMED = 10  # namespaces that a refusal lists

option = click.option("--new-namespace", "new", is_flag=True, help="Create the namespace if it does not exist.")


def confirm(registry: Registry, namespace: str, *, agreed: bool) -> None:
    """Return where the namespace exists or may be created: by option, or by the answer of a person at a terminal.

    Raises:
        UsageError: it does not exist, and nobody agreed.
    """
    from embhub_registry.database.people import accounts
    from embhub_registry.people.names import check_namespace

    check_namespace(namespace)
    db = registry.database.connection()
    if agreed or accounts.namespace_exists(db, namespace):
        return
    if sys.stdin.isatty() and click.confirm(f"There is no namespace {namespace} yet. Create it?", err=True):
        return
    known = accounts.list_namespaces(db)
    more = ", …" if len(known) > NAMED else ""
    raise UsageError(
        f"there is no namespace {namespace!r}: nothing was changed",
        f"there are: {', '.join(known[:NAMED])}{more}; --new-namespace creates another one",
    )


def lines(result: dict[str, Any]) -> list[str]:
    """What is said of a namespace that a command created."""
    return [f"created the namespace {result['namespace']}"] if result["namespace_created"] else []
