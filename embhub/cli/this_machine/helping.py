"""`embhub help`: the first screen, the list of all commands, or the help of one."""

from __future__ import annotations

import click

from embhub.cli import options
from embhub.cli.output import print_json
from embhub.cli.whole_help import WholeHelpGroup

ALL = "all"


@click.command("help", short_help="List all commands, or show a command's help.")
@click.argument("words", nargs=-1, metavar="[all|COMMAND]")
@options.as_json
@click.pass_context
def command(context: click.Context, words: tuple[str, ...], as_json: bool) -> None:
    """Show the help of COMMAND; with `all`, the list of all commands.

    Without a word it shows the first screen: the commands that most people need.

    \b
    Example:
      embhub help all
      embhub help train
      embhub help card init
    """
    text = find_help(context.find_root(), words)
    print_json({"command": " ".join(words), "help": text}) if as_json else click.echo(text)


def find_help(context: click.Context, words: tuple[str, ...]) -> str:
    """The help of the command that `words` name below that of `context`.

    Raises:
        click.UsageError: no command of that name; the nearest ones are named.
    """
    command = context.command
    if words == (ALL,) and isinstance(command, WholeHelpGroup):
        return command.whole().get_help(context)
    if not words:
        return command.get_help(context)
    if not isinstance(command, click.Group):
        raise click.UsageError(f"{context.command_path!r} has no commands below it.", context)
    _, found, _ = command.resolve_command(context, [words[0]])
    assert found is not None  # noqa: S101  # resolve_command raises for a name that is no command
    return find_help(click.Context(found, info_name=words[0], parent=context), words[1:])
