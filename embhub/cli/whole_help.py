"""Lists in `--help`: commands and options under headings, and each with a whole sentence, never one cut off.

A group with many commands lists a first few; its `whole()` lists all of them. A command with many options lists the
first few on top.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from typing import Any, Self

import click

_LONGEST = 300  # characters of a first sentence: no help has a longer one


class WholeHelpGroup(click.Group):
    """A group whose commands are listed under `sections`, a heading each; without them under `Commands`.

    With `first`, only the commands that it names are listed, under its headings, and `epilog` says where the rest is.
    """

    def __init__(
        self,
        *arguments: Any,
        sections: Mapping[str, Sequence[str]] | None = None,
        first: Mapping[str, Sequence[str]] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        self.sections, self.first = dict(sections or {}), dict(first or {})

    def whole(self) -> Self:
        """The same group, whose help lists every command."""
        group = copy(self)
        group.first, group.epilog = {}, None
        return group

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the lists; a command that no section names stands in the last."""
        names = self.list_commands(ctx)
        placed = {name for section in self.sections.values() for name in section}
        rest = {"Other commands" if placed else "Commands": [name for name in names if name not in placed]}
        for heading, section in (self.first or {**self.sections, **rest}).items():
            if rows := list(self._rows(ctx, section)):
                with formatter.section(heading):
                    formatter.write_dl(rows)

    def _rows(self, ctx: click.Context, names: Iterable[str]) -> Iterable[tuple[str, str]]:
        for name in names:
            command = self.get_command(ctx, name)
            if command is not None and not command.hidden:
                yield name, command.get_short_help_str(limit=_LONGEST)


class SectionedCommand(click.Command):
    """A command whose options are listed under `sections`: names of parameters under each heading, the rest last."""

    def __init__(self, *arguments: Any, sections: Mapping[str, Sequence[str]], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.sections = dict(sections)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the lists; an option that several sections name stands in the first of them."""
        rows = {
            parameter.name: row
            for parameter in self.get_params(ctx)
            if isinstance(parameter, click.Option) and (row := parameter.get_help_record(ctx)) is not None
        }
        for heading, names in {**self.sections, "Other options": tuple(rows)}.items():
            if found := [rows.pop(name) for name in names if name in rows]:
                with formatter.section(heading):
                    formatter.write_dl(found)
