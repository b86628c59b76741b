"""A click group that imports a command's file only when that command (or the list of all) is asked for.

Much of it stands in `embhub.cli` too: the registry may import the core alone, as import-linter sees to, and the core
knows no click.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click

from embhub.formats.nearest import suggest


class LazyGroup(click.Group):
    """`sections` maps headings to names, and a name to a group, or to `FILE` or `FILE:COMMAND` among the files here.

    A file without a name after it holds `command`.
    """

    def __init__(
        self, *arguments: Any, sections: Mapping[str, Mapping[str, str | click.Command]], **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        self._sections = sections
        self._files = {name: file for section in sections.values() for name, file in section.items()}

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a list for each heading, with whole sentences."""
        for heading, section in self._sections.items():
            found = [(name, self.get_command(ctx, name)) for name in section]
            with formatter.section(heading):
                formatter.write_dl([(name, one.get_short_help_str(limit=300)) for name, one in found if one])

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click gives it
        """In the order of an operator's work, not of the alphabet."""
        return list(self._files)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # click gives it
        """Import the file of `cmd_name`; None for a name that is no command."""
        if cmd_name not in self._files:
            return None
        file = self._files[cmd_name]
        if isinstance(file, click.Command):
            return file
        module, _, attribute = file.partition(":")
        command: click.Command = getattr(
            importlib.import_module(f"embhub_registry.cli.{module}"), attribute or "command"
        )
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, with the nearest names for one that is no command: click knows only imported ones."""
        name = str(args[0])
        if name in self._files or name.startswith("-") or ctx.resilient_parsing:
            return super().resolve_command(ctx, args)
        raise click.UsageError(f"No such command {name!r}.{suggest(name, self._files)}", ctx)
