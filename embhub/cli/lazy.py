"""A click group that imports a command's file only when that command (or the list of all) is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click

from embhub.cli.whole_help import WholeHelpGroup
from embhub.formats.nearest import suggest

OTHER_TOOLS = {
    "download": "pull", "get": "pull", "upload": "push", "publish": "push", "list": "search", "ls": "search",
    "run": "generate", "sample": "generate", "init": "card init", "version": "--version",
    "logout": "login --forget", "whoami": "login --show", "join": "login --invite", "lock": "pull --lock",
    "status": "verify --pulled", "yank": "curate yank", "access": "curate access", "review": "curate review",
    "erase": "curate erase", "dataset": "research dataset", "detect": "research detect", "port": "research port",
    "adapt": "research adapt", "lora": "research adapt", "completion": "config completion",
    "inpaint": "generate --from", "img2img": "generate --from",
}  # fmt: skip
"""Words of other programs, and of commands that stand in a group, and what they are called here."""


class LazyGroup(WholeHelpGroup):
    """`commands_in` maps a command's name to the file of `embhub.cli` that holds it as `command`."""

    def __init__(self, *arguments: Any, commands_in: Mapping[str, str], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._files = commands_in

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click gives it
        """In the order of the work, not of the alphabet."""
        return list(self._files)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # click gives it
        """Import the file of `cmd_name`; None for a name that is no command."""
        if cmd_name not in self._files:
            return None
        command: click.Command = importlib.import_module(f"embhub.cli.{self._files[cmd_name]}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, with the nearest names for one that is no command: click knows only imported ones."""
        name = str(args[0])
        if name in self._files or name.startswith("-") or ctx.resilient_parsing:
            return super().resolve_command(ctx, args)
        own = None if ctx.parent else OTHER_TOOLS.get(name)
        said = f" Here it is `embhub {own}`." if own is not None else suggest(name, self._files)
        raise click.UsageError(f"No such command {name!r}.{said}", ctx)
