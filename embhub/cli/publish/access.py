"""`embhub curate access`: gated repositories, for those who ask for access and for those who answer."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embhub.cli import options
from embhub.cli.output import print_json, print_pairs, print_table, remark
from embhub.cli.whole_help import WholeHelpGroup

if TYPE_CHECKING:
    from embhub.client.member.access import Terms

repository = click.argument("repository", metavar="NS/NAME")


@click.group("access", cls=WholeHelpGroup, short_help="Request and grant access to gated repositories.")
def command() -> None:
    """Request access to a gated repository, and answer requests for your own.

    \b
    Example:
      embhub curate access request radboud/prostate-csPCa
      embhub curate access list radboud/prostate-csPCa
      embhub curate access grant radboud/prostate-csPCa lea
    """


@command.command("request")
@repository
@click.option("--accept-terms", is_flag=True, help="Accept the terms of NS/NAME, which are printed first.")
@options.registry
@options.as_json
def request(repository: str, accept_terms: bool, registry: str | None, as_json: bool) -> None:
    """Request access to the files of NS/NAME with the stored access token.

    If the repository has terms, they are printed. Without --accept-terms the command asks on a terminal; otherwise
    nothing is sent and the exit code is 2. The registry records who accepted which version, and when. Run the command
    again when the terms have changed.

    \b
    Example:
      embhub curate access request radboud/prostate-csPCa
      embhub curate access request radboud/prostate-csPCa --accept-terms
    """
    from embhub.client.member import access

    def accept(terms: Terms) -> bool:
        remark(f"terms of {repository}, version {terms.version} of {terms.written[:10]}:\n\n{terms.shown()}\n")
        return accept_terms or (sys.stdin.isatty() and click.confirm("Accept these terms?", err=True))

    status, terms = access.request(repository, accept=accept, registry=registry)
    facts = {"repository": repository, "status": status, "terms accepted": terms.version if terms else None}
    print_json({**facts, "terms": _facts(terms)}) if as_json else print_pairs(facts)


@command.command("list")
@repository
@click.option("--status", type=click.Choice(["pending", "accepted", "rejected"]), help="Status  [default: all]")
@options.registry
@options.as_json
def list_(repository: str, status: str | None, registry: str | None, as_json: bool) -> None:
    """List who requested access to NS/NAME, with the version of the terms that they accepted.

    \b
    Example:
      embhub curate access list radboud/prostate-csPCa --status pending
    """
    from embhub.client.member import access

    found = access.list_requests(repository, status=status, registry=registry)
    if as_json:
        print_json([asdict(item) for item in found])
    elif found:
        print_table([(r.user, r.namespace, r.status, r.requested[:10], _accepted(r)) for r in found])
    else:
        remark("no requests")


@command.command("grant")
@repository
@click.argument("user")
@options.registry
@options.as_json
def grant(repository: str, user: str, registry: str | None, as_json: bool) -> None:
    """Grant USER access to the files of NS/NAME, whether they requested it or not.

    \b
    Example:
      embhub curate access grant radboud/prostate-csPCa lea
    """
    from embhub.client.member import access

    access.answer(repository, user, let_in=True, registry=registry)
    facts = {"repository": repository, "user": user, "status": "accepted"}
    print_json(facts) if as_json else print_pairs(facts)


@command.command("reject")
@repository
@click.argument("user")
@click.option("--reason", default="", metavar="TEXT", help="Reason, shown to USER (at most 200 characters).")
@options.registry
@options.as_json
def reject(repository: str, user: str, reason: str, registry: str | None, as_json: bool) -> None:
    """Reject the request of USER for NS/NAME, or end the access that they have.

    Files that they have already pulled remain with them.

    \b
    Example:
      embhub curate access reject radboud/prostate-csPCa lea --reason "no data use agreement yet"
    """
    from embhub.client.member import access

    access.answer(repository, user, let_in=False, reason=reason, registry=registry)
    facts = {"repository": repository, "user": user, "status": "rejected"}
    print_json(facts) if as_json else print_pairs(facts)


@command.command("terms")
@repository
@click.option("--set", "file", type=options.FILE, metavar="FILE", help="Replace the terms by this text file (UTF-8).")
@click.option("--end", is_flag=True, help="End the terms: nobody is asked to accept any.")
@options.registry
@options.as_json
def terms(repository: str, registry: str | None, as_json: bool, **choices: Any) -> None:
    """Show the terms of NS/NAME, or replace them as its publisher. A new text is a new version.

    Everybody who accepted an earlier version is asked again, and cannot download the files until they accept.

    \b
    Example:
      embhub curate access terms radboud/prostate-csPCa
      embhub curate access terms radboud/prostate-csPCa --set terms.txt
    """
    found = _terms(repository, registry, **choices)
    if as_json:
        print_json({"repository": repository, "terms": _facts(found)})
    elif found:
        print_pairs({"version": found.version, "written": found.written, "sha256": found.sha256})
        click.echo(f"\n{found.shown()}")
    else:
        remark(f"{repository} has no terms")


def _terms(repository: str, registry: str | None, *, file: Path | None, end: bool) -> Terms | None:
    from embhub.client.member import access
    from embhub.errors import UsageError

    if file is None and not end:
        return access.read_terms(repository, registry=registry)
    if file is not None and end:
        raise UsageError("--set and --end exclude each other", "pass one of them")
    try:
        text = file.read_text(encoding="utf-8-sig") if file else ""
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not text in UTF-8", "save it as plain text") from error
    if file and not text.strip():
        raise UsageError(f"{file} is empty", "to end the terms, pass --end")
    return access.write_terms(repository, text, registry=registry)


def _facts(found: Terms | None) -> dict[str, Any] | None:
    return None if found is None else asdict(found)


def _accepted(item: Any) -> str:
    return f"terms {item.terms_version}, {item.terms_accepted[:10]}" if item.terms_version else "-"
