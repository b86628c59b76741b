"""What several commands share: the opened registry and options that read the same everywhere."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import Any

import click

from embhub_registry.people.roles import SCOPES

FILE = click.Path(path_type=Path)


class Duration(click.FloatRange):
    """A length of time from 0 up to `max`; `nan`, which compares with nothing, is none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number; a usage error for anything else."""
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is not a length of time.", param, ctx)
        return number


SECONDS = Duration(0, 86_400)
HOURS = Duration(0, 8_760)

as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
_days = click.option(
    "--expires-days",
    "days",
    type=click.IntRange(1, 36_500),
    default=90,
    show_default=True,
    help="Lifetime of the access token, in days.",
)
_never = click.option("--never-expires", "never", is_flag=True, help="Create an access token without an end.")


def days(command: Callable[..., Any]) -> Callable[..., Any]:
    """How long an access token lasts: `days`, None for one without an end."""

    @wraps(command)
    def run(*args: Any, days: int, never: bool, **arguments: Any) -> Any:
        chosen = click.get_current_context().get_parameter_source("days")
        if never and chosen is not click.core.ParameterSource.DEFAULT:
            raise click.UsageError("--expires-days and --never-expires exclude each other")
        return command(*args, days=None if never else days, **arguments)

    return _days(_never(run))


newest_keyring = click.option(
    "--keyring", type=FILE, metavar="FILE|DIR",
    help="Newest keyring that anybody saw: a trust export, or the folder of an export or a mirror.",
)  # fmt: skip
scope = click.option(
    "--scope", type=click.Choice(SCOPES), help="Scope of the access token  [default: everything the account may do]."
)


def data_folder(context: click.Context) -> Path:
    """The registry's folder. It is asked for here and not earlier, so that `COMMAND --help` needs none.

    Raises:
        click.UsageError: none is named.
    """
    if context.obj is None:
        raise click.UsageError("Missing option '--dir'.", ctx=context.find_root())
    assert isinstance(context.obj, Path)  # noqa: S101  # as `--dir` converts it
    return context.obj


def opened(command: Callable[..., Any], *, is_recovered: bool = False) -> Callable[..., Any]:
    """Open the registry of --dir, hand it to the command as its first argument and close it after.

    Args:
        command: The command's function.
        is_recovered: Whether it may be opened without the files of the audit log.
    """

    @click.pass_context
    @wraps(command)
    def run(context: click.Context, /, *args: Any, **arguments: Any) -> Any:
        from embhub_registry.operation import opening

        registry = opening.open_folder(
            data_folder(context), is_recovered=is_recovered, announce=partial(click.echo, err=True),
            **{name: context.meta[name] for name in ("online_keys", "database")},
        )  # fmt: skip
        try:
            return command(registry, *args, **arguments)
        finally:
            registry.close()

    return run


def exclusive(*, needed: bool = False, **given: str | None) -> None:
    """Two options say one thing: one of them may be given, or has to be.

    Raises:
        click.UsageError: both are given, or none where one is needed.
    """
    names = " and ".join(f"--{name}" for name in given)
    said = sum(value is not None for value in given.values())
    if said > 1:
        raise click.UsageError(f"{names} exclude each other")
    if needed and not said:
        raise click.UsageError(f"one of {names} is needed")
