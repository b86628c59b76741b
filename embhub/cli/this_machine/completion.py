"""`embhub config completion`: the script that completes commands and options in a shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from embhub.cli import options
from embhub.cli.output import print_json

SHELLS = ("bash", "zsh", "fish")


@click.command("completion", short_help="Print a shell's completion script.")
@click.argument("shell", type=click.Choice(SHELLS))
@options.as_json
def command(shell: str, as_json: bool) -> None:
    """Print the script that completes commands and options of embhub in SHELL.

    \b
    Example:
      embhub config completion bash > ~/.local/share/bash-completion/completions/embhub
      embhub config completion zsh > ~/.zfunc/_embhub
      embhub config completion fish > ~/.config/fish/completions/embhub.fish
    """
    script = make_script(shell)
    print_json({"shell": shell, "script": script}) if as_json else click.echo(script, nl=False)


def make_script(shell: str) -> str:
    """Click's own script for the shell, by which it asks the program what fits."""
    from embhub.cli import root

    made = get_completion_class(shell)
    assert made is not None  # noqa: S101  # one of SHELLS
    found = made(root, {}, "embhub", "_EMBHUB_COMPLETE")
    return found.source_template % found.source_vars() + "\n"
