"""`embhub-registry doctor`: is this machine, this registry and its proxy set up as they should be?"""

from __future__ import annotations

import click

from embhub_registry.cli import options
from embhub_registry.cli.check.checking import NOT_CLEAN
from embhub_registry.cli.output import show, table


@click.command("doctor")
@options.as_json
@click.pass_context
def command(context: click.Context, *, as_json: bool) -> None:
    """Check clock, disk, keys, proxy, TLS, background tasks and backup: exit code 0, or 5 if a check failed.

    Run it as the registry's own user, also while the server runs: it changes nothing and takes no lock. Each line has
    what was seen and what to do. It asks the registry's public address, as a site does.
    """
    from embhub_registry.operation.doctor_checks import doctor

    given = {name: context.meta[name] for name in ("online_keys", "database")}
    findings = doctor.examine(options.data_folder(context), **given)
    rows = [(one.state, one.check, f"{one.seen}{'   -> ' if one.advice else ''}{one.advice}") for one in findings]
    good = all(one.state != "failed" for one in findings)
    show({"good": good, "checks": [one.to_json() for one in findings]}, *table(rows), as_json=as_json)
    context.exit(0 if good else NOT_CLEAN)
