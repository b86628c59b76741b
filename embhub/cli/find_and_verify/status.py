"""`embhub verify --pulled`: whether anything that this site pulled was withdrawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from embhub.cli.output import print_json, remark

if TYPE_CHECKING:
    from embhub.client.member.status import Report

MARKS = {"ok": "green", "withdrawn": "red", "refused": "red", "missing": "blue", "unknown": "yellow"}


def report(target: str | None, *, as_json: bool) -> int:
    """Print what is known of everything that this site pulled, or of `target`; returns the exit code."""
    from embhub.client.member.status import look_up

    found = look_up(target)
    print_json(found.to_json()) if as_json else _print(found)
    return _exit_code(found)


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
