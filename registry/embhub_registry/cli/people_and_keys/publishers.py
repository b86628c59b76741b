"""`embhub-registry repo publisher`: which workloads may publish without a person's access token."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from embhub_registry.cli import options
from embhub_registry.cli.output import show, table

if TYPE_CHECKING:
    from embhub_registry.storage.folder import Registry


@click.group("publisher")
def command() -> None:
    """Manage trusted publishers: jobs in CI that publish by their provider's OIDC token."""


@command.command("add")
@click.argument("repository")
@click.option("--issuer", required=True, help="The provider's issuer, an https address.")
@click.option("--audience", help="The audience that tokens have to have  [default: the registry's address].")
@click.option("--claim", "claims", multiple=True, required=True, metavar="NAME=VALUE",
              help="A claim that tokens have to have, to the letter; repeatable.")  # fmt: skip
@click.option("--scope", type=click.Choice(("read", "publish")), default="publish", show_default=True,
              help="Scope of the access tokens that the workload gets.")  # fmt: skip
@options.as_json
@options.opened
def add(
    registry: Registry, *, repository: str, issuer: str, audience: str | None, claims: tuple[str, ...], scope: str,
    as_json: bool,
) -> None:  # fmt: skip
    """Let jobs whose token has these claims publish in REPOSITORY (NAMESPACE/NAME), for 15 minutes a token.

    \b
    Example:
      embhub-registry --dir hub repo publisher add radboud/prostate-cspca \\
        --issuer https://token.actions.githubusercontent.com \\
        --claim repository_id=123456 --claim ref=refs/heads/main
    """
    from embhub_registry.operation import workload_rules

    result = workload_rules.add(
        registry, repository, issuer=issuer, audience=audience, claims=claims, scope=scope
    )  # fmt: skip
    show(result, f"{result['id']}: {repository} from {issuer}", f"commits by {result['user']}", as_json=as_json)


@command.command("list")
@click.option("--namespace", help="Only those of this namespace.")
@options.as_json
@options.opened
def list_(registry: Registry, *, namespace: str | None, as_json: bool) -> None:
    """List trusted publishers with what they require."""
    from embhub_registry.operation import workload_rules

    result = workload_rules.list_all(registry, namespace)
    rows = [
        (p["id"], p["repository"], p["issuer"], " ".join(f"{k}={v}" for k, v in p["claims"].items()),
         f"ended {p['ended'][:10]}" if p["ended"] else "in force")
        for p in result["publishers"]
    ]  # fmt: skip
    show(result, *table(rows), as_json=as_json)


@command.command("end")
@click.argument("publisher_id", metavar="ID")
@options.as_json
@options.opened
def end(registry: Registry, *, publisher_id: str, as_json: bool) -> None:
    """End the trusted publisher with this ID, and the access tokens that it was given."""
    from embhub_registry.operation import workload_rules

    result = workload_rules.end(registry, publisher_id)
    show(result, f"{publisher_id} has ended: {result['repository']}", as_json=as_json)
