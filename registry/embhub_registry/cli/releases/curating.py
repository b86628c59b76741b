"""`embhub-registry curate`: releases that need approval, who may read gated ones, and what others found of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from embhub_registry.cli import options
from embhub_registry.cli.output import show, table

if TYPE_CHECKING:
    from embhub_registry.storage.folder import Registry


@click.group("review")
def review() -> None:
    """Set which releases need approval by one or two approvers before they are published."""


@review.command("list")
@options.as_json
@options.opened
def list_rules(registry: Registry, *, as_json: bool) -> None:
    """List the namespaces and repositories whose releases need approval."""
    from embhub_registry.repositories import reviewing

    rows = reviewing.rules(registry)
    lines = (
        f"{row['namespace']}/{row['name'] or '*'}  {row['approvals']}{' signed' * row['signed']}"
        f"  since {row['changed'][:10]}"
        for row in rows
    )
    show({"rules": rows}, *lines, as_json=as_json)


@review.command("set")
@click.argument("which", metavar="NAMESPACE[/NAME]")
@click.option(
    "--approvals", type=click.IntRange(0, 2), required=True,
    help="Approvers who must approve a release: 0 for none, 2 for two persons.",
)  # fmt: skip
@click.option("--signed", is_flag=True, help="Count only approvals that the approvers signed with their own keys.")
@options.as_json
@options.opened
def set_rule(registry: Registry, *, which: str, approvals: int, signed: bool, as_json: bool) -> None:
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


@click.group("access")
def access() -> None:
    """List, grant and reject access to gated repositories."""


@access.command("list")
@click.argument("repository")
@options.as_json
@options.opened
def list_requests(registry: Registry, *, repository: str, as_json: bool) -> None:
    """List who requested access to REPOSITORY (NAMESPACE/NAME), and which terms they accepted when."""
    from embhub_registry.repositories import access_by_operator

    result = access_by_operator.list_requests(registry, repository)
    rows = [
        (r["user"], r["namespace"], r["status"], f"terms {r['terms_version'] or '-'} {r['terms_accepted'] or ''}")
        for r in result["requests"]
    ]
    show(result, *table(rows), as_json=as_json)


@access.command("grant")
@click.argument("repository")
@click.argument("user")
@options.as_json
@options.opened
def grant(registry: Registry, *, repository: str, user: str, as_json: bool) -> None:
    """Grant USER access to the files of REPOSITORY, whether they requested it or not."""
    from embhub_registry.repositories import access_by_operator

    result = access_by_operator.answer(registry, repository, user, status="accepted")
    show(result, f"{user} may read {repository}", as_json=as_json)


@access.command("reject")
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


@click.group("evaluation")
def evaluation() -> None:
    """List and remove evaluations of releases. Publishers cannot remove them; you can, with a reason."""


@evaluation.command("list")
@click.argument("repository", metavar="NAMESPACE/NAME")
@options.as_json
@options.opened
def list_evaluations(registry: Registry, *, repository: str, as_json: bool) -> None:
    """List the evaluations of every version of a repository."""
    from embhub_registry.repositories import evaluations

    rows = evaluations.listed(registry, repository)
    show({"evaluations": rows}, *evaluations.lines(rows), as_json=as_json)


@evaluation.command("remove")
@click.argument("repository", metavar="NAMESPACE/NAME")
@click.option("--namespace", required=True, help="Namespace that published the evaluation.")
@click.option("--reason", required=True, help="Reason, shown in its place to everybody who sees the release.")
@options.as_json
@options.opened
def remove(registry: Registry, *, repository: str, namespace: str, reason: str, as_json: bool) -> None:
    """Remove what a namespace published of any version of a repository. It can publish none of these versions again."""
    from embhub_registry.repositories import evaluations

    rows = evaluations.remove(registry, repository, namespace, reason=reason)
    show({"evaluations": rows}, *evaluations.lines(rows), as_json=as_json)


@evaluation.command("allow")
@click.argument("repository", metavar="NAMESPACE/NAME")
@click.option("--namespace", required=True, help="Namespace whose evaluation was removed.")
@options.as_json
@options.opened
def allow(registry: Registry, *, repository: str, namespace: str, as_json: bool) -> None:
    """Let a namespace whose evaluation was removed publish one again. The reason is shown no longer."""
    from embhub_registry.repositories import evaluations

    rows = evaluations.allow(registry, repository, namespace)
    show({"evaluations": rows}, *evaluations.lines(rows), as_json=as_json)
