"""Command-line options made of the fields of an options dataclass, and the dataclass built of what was typed.

    @option_group(Recipe, "recipe")
    def command(*, recipe: Recipe) -> None: ...

Help text, type and range stand in the field (`embhub.options.fields`), so that no option is written twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from functools import wraps
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import click

from embhub.options.fields import OptionField, options_of, types_of

Command = Callable[..., Any]


def option_group(
    cls: type[Any],
    name: str,
    *,
    build: Callable[..., object] | None = None,
    defaults: Mapping[str, Any] | None = None,
    helps: Mapping[str, str] | None = None,
) -> Callable[[Command], Command]:
    """Add an option for every field of the dataclass `cls`; the command gets one object, as its parameter `name`.

    Args:
        cls: a dataclass whose fields were made by `option_fields.option`.
        name: the command's parameter.
        build: makes the object from the fields as keywords; `cls` by default.
        defaults: other default values of this command, by field.
        helps: other help texts of this command, by field.

    Returns:
        A decorator, to stand between `click.command` and the function.
    """
    about, usual = options_of(cls), defaults or {}
    made = build or cls

    def decorate(command: Command) -> Command:
        @wraps(command)
        def run(*arguments: Any, **values: Any) -> Any:
            chosen = {field: values.pop(field) for field in about}
            return command(*arguments, **values, **{name: made(**chosen)})

        for each in reversed(fields(cls)):
            if each.name not in about:
                continue
            default = usual.get(each.name, None if each.default is MISSING else each.default)
            text = (helps or {}).get(each.name, about[each.name].help)
            _option(each.name, about[each.name], types_of(cls)[each.name], default, text)(run)
        return run

    return decorate


def _option(
    name: str, about: OptionField, kinds: tuple[Any, ...], default: Any, text: str
) -> Callable[[Command], Command]:
    flags = about.flags or (f"--{name.replace('_', '-')}",)
    if bool in kinds:
        return click.option(*flags, name, is_flag=True, default=bool(default), help=text)
    kind = _click_type(about, kinds)
    metavar = None if isinstance(kind, click.Choice) else about.metavar or _METAVARS.get(kinds[0])
    return click.option(
        *flags, name, type=kind, metavar=metavar, default=default, show_default=default is not None, help=text
    )


_METAVARS: dict[Any, str] = {int: "N", float: "X", str: "TEXT"}


def _click_type(about: OptionField, kinds: tuple[Any, ...]) -> click.ParamType[Any]:
    """The type that checks what was typed: a range, a choice, a path or text."""
    if Path in kinds:
        return click.Path(path_type=Path)
    for kind in kinds:
        if get_origin(kind) is Literal:
            return click.Choice([str(choice) for choice in get_args(kind)])
    low = about.above if about.low is None else about.low
    high = about.below if about.high is None else about.high
    if int in kinds:
        return click.IntRange(None if low is None else int(low), None if high is None else int(high))
    if float in kinds:
        return click.FloatRange(low, high, min_open=about.low is None, max_open=about.high is None)
    return click.STRING
