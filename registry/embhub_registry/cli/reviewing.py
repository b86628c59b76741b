"""`embhub-registry curate review`: which releases need approval before anybody else sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from embhub_registry.cli import options
from embhub_registry.cli.output import show

if TYPE_CHECKING:
    from embhub_registry.storage.folder import Registry


@click.group("review")
def command() -> None:
    """Set which releases need approval by one or two approvers before they are published."""


@command.command("list")
@options.as_json
@options.opened
def list_(registry: Registry, *, as_json: bool) -> None:
    """List the namespaces and repositories whose releases need approval."""
    from embhub_registry.repositories import reviewing

    rows = reviewing.rules(registry)
    lines = (
        f"{row['namespace']}/{row['name'] or '*'}  {row['approvals']}{' signed' * row['signed']}"
        f"  since {row['changed'][:10]}"
        for row in rows
    )
    show({"rules": rows}, *lines, as_json=as_json)


@command.command("set")
@click.argument("which", metavar="NAMESPACE[/NAME]")
@click.option(
    "--approvals", type=click.IntRange(0, 2), required=True,
    help="Approvers who must approve a release: 0 for none, 2 for two persons.",
)  # fmt: skip
@click.option("--signed", is_flag=True, help="Count only approvals that the approvers signed with their own keys.")
@options.as_json
@options.opened
def set_(registry: Registry, *, which: str, approvals: int, signed: bool, as_json: bool) -> None:
    """Let the releases of NAMESPACE, or of one repository in it, need approval.

    The stricter of the two rules holds. What is proposed already keeps the rule under which it was proposed, if that
    was the stricter one.
    """
    from embhub_registry.repositories import reviewing

    namespace, _, name = which.partition("/")
    before = reviewing.set_rule(registry, None, namespace, name, approvals, signed=signed)
    result = {"of": which, "approvals": approvals, "signed": signed, "before": before}
    how = "signed approvals" if signed else "approvals"
    show(result, f"releases of {which} need {approvals} {how} (before: {before})", as_json=as_json)
