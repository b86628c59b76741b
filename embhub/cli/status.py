"""`embhub status`: whether anything that this site pulled was withdrawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from embhub.cli import options
from embhub.cli.output import print_json, remark

if TYPE_CHECKING:
    from embhub.client.member.status import Report

MARKS = {"ok": "green", "withdrawn": "red", "refused": "red", "missing": "blue", "unknown": "yellow"}


@click.command("status", short_help="Report whether releases on this machine were withdrawn.")
@click.argument("target", metavar="[FOLDER|FILE|NS/NAME]", required=False)
@click.option("--all", "everything", is_flag=True, help="Check everything that this site pulled.")
@options.as_json
def command(target: str | None, everything: bool, as_json: bool) -> int:
    """Report whether a release was yanked or withdrawn, or signed with a stolen key. Needs no network.

    The answer is as new as the advisories kept here, whose age is shown. `embhub trust refresh` fetches the newest.
    Exit code 8: something must not be used any more. Exit code 4: a folder does not verify.

    \b
    Example:
      embhub status prostate-csPCa
      embhub status --all --json
    """
    from embhub.client.member.status import look_up

    if (target is None) != everything:
        raise click.UsageError("give a FOLDER, FILE or NS/NAME, or --all")
    report = look_up(target)
    print_json(report.to_json()) if as_json else _print(report)
    return _exit_code(report)


def _exit_code(report: Report) -> int:
    """As `pull` and `verify` give it: 4 where bytes or signatures are wrong, 8 where they are right and withdrawn."""
    states = {row.state for row in report.releases}
    return 4 if "refused" in states else 8 if "withdrawn" in states else 0


def _print(report: Report) -> None:
    from embhub.client.member.status import OLD_DAYS

    for row in report.releases:
        name = f"{row.repository} {row.version}".strip() or "release"
        where = f"  {row.folder}" if row.folder else ""
        click.echo(f"{click.style(row.state.ljust(9), fg=MARKS[row.state], bold=True)}  {name}{where}")
        for reason in row.reasons:
            click.echo(f"           {reason}")
    for source in report.sources:
        if source.number is None:
            remark(f"warning: no signed advisories of {source.registry} are kept here; its withdrawals are not known")
        else:
            late = "warning: " if (source.days or 0) > OLD_DAYS else ""
            age = "today" if not source.days else f"{source.days} days ago"
            remark(f"{late}advisories of {source.registry}: number {source.number}, confirmed {age}")
