"""`embhub-registry curate access`: who may read the files of gated repositories."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from embhub_registry.cli import options
from embhub_registry.cli.output import show, table

if TYPE_CHECKING:
    from embhub_registry.storage.folder import Registry


@click.group("access")
def command() -> None:
    """List, grant and reject access to gated repositories."""


@command.command("list")
@click.argument("repository")
@options.as_json
@options.opened
def list_(registry: Registry, *, repository: str, as_json: bool) -> None:
    """List who requested access to REPOSITORY (NAMESPACE/NAME), and which terms they accepted when."""
    from embhub_registry.repositories import access_by_operator

    result = access_by_operator.list_requests(registry, repository)
    rows = [
        (r["user"], r["namespace"], r["status"], f"terms {r['terms_version'] or '-'} {r['terms_accepted'] or ''}")
        for r in result["requests"]
    ]
    show(result, *table(rows), as_json=as_json)


@command.command("grant")
@click.argument("repository")
@click.argument("user")
@options.as_json
@options.opened
def grant(registry: Registry, *, repository: str, user: str, as_json: bool) -> None:
    """Grant USER access to the files of REPOSITORY, whether they requested it or not."""
    from embhub_registry.repositories import access_by_operator

    result = access_by_operator.answer(registry, repository, user, status="accepted")
    show(result, f"{user} may read {repository}", as_json=as_json)


@command.command("reject")
@click.argument("repository")
@click.argument("user")
@click.option("--reason", default="", help="Reason, shown to USER.")
@options.as_json
@options.opened
def reject(registry: Registry, *, repository: str, user: str, reason: str, as_json: bool) -> None:
    """Reject the request of USER, or end the access that they have."""
    from embhub_registry.repositories import access_by_operator

    result = access_by_operator.answer(registry, repository, user, status="rejected", reason=reason)
    show(result, f"{user} may not read {repository}", as_json=as_json)
