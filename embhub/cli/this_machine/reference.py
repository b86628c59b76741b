"""The pages on commands of the documentation site, written from the commands themselves (.ci/docs_site.py)."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

from embhub.cli import root

HEAD = """# The `embhub` command

Written from the commands: the same as `embhub COMMAND --help`.

Results go to stdout, as JSON with `--json`, and so do errors then; progress, notes and words about errors go to stderr.
Times are ISO 8601. Exit codes are listed
in [errors.md](errors.md), settings in [settings.md](settings.md). Colours appear only on a terminal, and never if
`NO_COLOR` is set. `--debug`, in any position, adds the traceback to an error.

Shell completion of commands and options in bash, zsh and fish: `embhub config completion`.
"""


def render(group: click.Group = root, name: str = "embhub", head: str = HEAD) -> str:
    """The whole page of a program: its head, and a section for each command."""
    return "\n".join([head, *(_section(path, command) for path, command in walk(group, (name,)))])


def walk(group: click.Group, path: tuple[str, ...] = ("embhub",)) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command under `group`, groups before what they hold."""
    yield path, group
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from walk(command, (*path, name))
        elif command is not None:
            yield (*path, name), command


def _section(path: tuple[str, ...], command: click.Command) -> str:
    context = click.Context(command, info_name=" ".join(path), **command.context_settings)
    usage = " ".join([*path, *command.collect_usage_pieces(context)])
    text, _, example = inspect.cleandoc(command.help or "").replace("\b\n", "").partition("Example:\n")
    parts = [f"{'#' * (1 + len(path))} {' '.join(path)}\n", f"    {usage}\n", text.strip() + "\n"]
    options = [
        row
        for parameter in command.params
        if isinstance(parameter, click.Option) and (row := parameter.get_help_record(context))
    ]
    if options:
        rows = [
            f"| `{names.replace('|', chr(92) + '|')}` | {words.replace('|', chr(92) + '|')} |"
            for names, words in options
        ]
        parts.append("\n".join(["| option | |", "|---|---|", *rows]) + "\n")
    if example:
        parts.append("```console\n" + _prompted(inspect.cleandoc("  " + example.strip("\n"))) + "\n```\n")
    return "\n".join(parts)


def _prompted(example: str) -> str:
    """A `$` before each command, none before a continued line."""
    lines = []
    continued = False
    for line in example.splitlines():
        lines.append(f"  {line.strip()}" if continued else f"$ {line.strip()}")
        continued = line.endswith("\\")
    return "\n".join(lines)
