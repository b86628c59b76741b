"""Fields of option dataclasses: each carries its help text and its range, which command line and library both read.

An option is written once, as a field of a frozen dataclass. `embhub.cli.option_groups` makes a command-line option of
it; `check_ranges` refuses a value out of range in Python.
"""

from __future__ import annotations

import math
from dataclasses import MISSING, dataclass, field, fields
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from embhub.errors import UsageError

_KEY = "option"


@dataclass(frozen=True)
class OptionField:
    """What a person is told of an option: `low` and `high` bound it, `above` is a bound that it must not reach.

    `flags` are its names on the command line, made of the field's name where there are none.
    """

    help: str
    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None
    metavar: str | None = None
    flags: tuple[str, ...] = ()

    def holds(self, value: float) -> bool:
        """Whether a number lies in the range."""
        return (
            math.isfinite(value)
            and (self.low is None or value >= self.low)
            and (self.high is None or value <= self.high)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    @property
    def range(self) -> str:
        """The range in words, such as `1 to 64`."""
        if self.low is not None and self.high is not None:
            return f"{self.low:,.10g} to {self.high:,.10g}"
        ends = (("above", self.above), ("at least", self.low), ("below", self.below), ("at most", self.high))
        return ", ".join(f"{word} {end:,.10g}" for word, end in ends if end is not None)


def option(help: str, *, default: Any = None, **about: Any) -> Any:
    """A dataclass field that is an option.

    Args:
        help: what `--help` prints.
        default: the field's default value; None means that it depends on other choices, such as the base.
        about: the other fields of `OptionField`.

    Returns:
        What `dataclasses.field` returns.
    """
    return field(default=default, metadata={_KEY: OptionField(help, **about)})


def required(help: str, **about: Any) -> Any:
    """As `option`, for a field without a default."""
    return field(default=MISSING, metadata={_KEY: OptionField(help, **about)})


def options_of(cls: type[Any]) -> dict[str, OptionField]:
    """The options of a dataclass by field name, in their order."""
    return {each.name: each.metadata[_KEY] for each in fields(cls) if _KEY in each.metadata}


def types_of(cls: type[Any]) -> dict[str, tuple[Any, ...]]:
    """The types that each field of a dataclass takes, None apart; a Literal stands as it is."""
    return {name: _members(kind) for name, kind in get_type_hints(cls).items()}


def given(options: Any) -> dict[str, Any]:
    """The fields of an options object that are set: None means that nothing was chosen."""
    return {each.name: value for each in fields(options) if (value := getattr(options, each.name)) is not None}


def check_ranges(values: Any, cls: type[Any] | None = None) -> None:
    """Check the fields of a dataclass instance against the options of `cls` (its own class by default).

    Raises:
        UsageError: a number out of its range, or a word that is none of the choices.
    """
    cls = cls or type(values)
    for name, about in options_of(cls).items():
        value = getattr(values, name, None)
        if value is None:
            continue
        for kind in types_of(cls)[name]:
            if get_origin(kind) is Literal and value not in get_args(kind):
                raise UsageError(f"{name} is {value!r}", f"choose {' or '.join(map(str, get_args(kind)))}")
        if isinstance(value, int | float) and not isinstance(value, bool) and not about.holds(value):
            raise UsageError(f"{name} is {value}, out of its range", f"choose {about.range}")


def check_types(values: Any) -> None:
    """Check the fields of a dataclass instance that somebody else filled in; a whole number may be a float.

    Raises:
        UsageError: a value of another type than its field.
    """
    for name, kind in get_type_hints(type(values)).items():
        value = getattr(values, name)
        allowed = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
        if not any(_is_of(value, each) for each in allowed):
            raise UsageError(f"{name} is {value!r}, which is of another type")


def _is_of(value: Any, kind: Any) -> bool:
    if get_origin(kind) is Literal:
        return isinstance(value, str) and value in get_args(kind)
    return type(value) is kind or (kind is float and type(value) is int)


def _members(kind: Any) -> tuple[Any, ...]:
    if get_origin(kind) in (Union, UnionType):
        return tuple(member for part in get_args(kind) for member in _members(part) if member is not NoneType)
    return (kind,)
