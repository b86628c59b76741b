"""`embhub config`: the settings in force, and the completion of commands in a shell."""

from __future__ import annotations

from dataclasses import asdict

import click

from embhub.cli import options
from embhub.cli.output import print_json, print_table
from embhub.cli.this_machine import completion
from embhub.cli.whole_help import WholeHelpGroup


@click.group("config", cls=WholeHelpGroup, short_help="Show the settings in force, print a shell's completion script.")
def command() -> None:
    """Show the settings in force (docs/reference/settings.md explains each), or print a shell's completion script.

    \b
    Example:
      embhub config show
    """


command.add_command(completion.command)


@command.command("show")
@options.as_json
def show(as_json: bool) -> None:
    """Show every setting, its value, and the variable or file that it comes from. Secrets are not shown.

    \b
    Example:
      embhub config show
    """
    from embhub.site.effective import effective

    rows = effective()
    if as_json:
        print_json([asdict(row) for row in rows])
    else:
        print_table([(row.setting, row.value or "-", row.source) for row in rows])
