"""Lists of commands in `--help`: under headings, and each with a whole sentence, never one cut off."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

_LONGEST = 300  # characters of a first sentence: no help has a longer one


class WholeHelpGroup(click.Group):
    """A group whose commands are listed under `sections`, a heading each; without them under `Commands`."""

    def __init__(self, *arguments: Any, sections: Mapping[str, Sequence[str]] | None = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.sections = dict(sections or {})

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the lists; a command that no section names stands in the last."""
        names = self.list_commands(ctx)
        placed = {name for section in self.sections.values() for name in section}
        rest = {"Other commands" if placed else "Commands": [name for name in names if name not in placed]}
        for heading, section in {**self.sections, **rest}.items():
            if rows := list(self._rows(ctx, section)):
                with formatter.section(heading):
                    formatter.write_dl(rows)

    def _rows(self, ctx: click.Context, names: Iterable[str]) -> Iterable[tuple[str, str]]:
        for name in names:
            command = self.get_command(ctx, name)
            if command is not None and not command.hidden:
                yield name, command.get_short_help_str(limit=_LONGEST)
