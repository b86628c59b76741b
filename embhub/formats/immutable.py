"""`@dataclass(frozen=True)` for classes that nearly every command needs, made without compiling their methods.

The standard decorator writes each method of a class as text and compiles it: half a millisecond a class on Python 3.11,
which was a tenth of the time of `embhub verify`. Here the fields are found by the standard decorator, and the methods
are functions that all classes share. Instances behave the same; making or comparing one takes one or two microseconds
longer. Type checkers see the standard decorator. docs/adr/0047-time-that-verify-takes.md says where this one is used.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import MISSING, Field, FrozenInstanceError
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:
    T = TypeVar("T")

    def dataclass(*, frozen: bool) -> Callable[[type[T]], type[T]]:
        """As `dataclasses.dataclass(frozen=True)`; no other option is known. What is not kept to raises TypeError."""
        if not frozen:
            raise TypeError("only frozen classes are made here")
        return _complete


def _complete(cls: Any) -> Any:
    # Python itself sets __hash__ to None where a class has its own __eq__.
    may_hash = cls.__dict__.get("__hash__", cls) is not None or "__eq__" in cls.__dict__
    dataclasses.dataclass(init=False, repr=False, eq=False)(cls)  # compiles next to nothing
    fields = dataclasses.fields(cls)
    if _needs_more(cls, fields):
        raise TypeError(f"{cls.__qualname__} needs the standard decorator")
    own = {
        "__init__": _initialiser(cls.__qualname__, fields),
        "__repr__": _representation([field.name for field in fields if field.repr]),
        "__setattr__": _refuse_to_assign,
        "__delattr__": _refuse_to_delete,
        **_comparisons([field.name for field in fields if field.compare]),
    }
    for name, method in own.items():
        if name not in cls.__dict__ or (cls.__dict__[name] is None and may_hash):
            setattr(cls, name, method)
    return cls


def _needs_more(cls: Any, fields: tuple[Field[Any], ...]) -> bool:
    """Whether the class uses something of the standard decorator that is not kept to here."""
    methods = {"__post_init__", "__setattr__", "__delattr__", "__slots__"} & cls.__dict__.keys()
    optional = [field.default is not MISSING or field.default_factory is not MISSING for field in fields]
    return bool(
        methods
        or hasattr(cls, "__post_init__")
        or any(field.kw_only or not field.init or field.hash is not None for field in fields)
        or any("InitVar" in str(kind) for kind in getattr(cls, "__annotations__", {}).values())
        or optional != sorted(optional)
    )


def _initialiser(title: str, fields: tuple[Field[Any], ...]) -> Callable[..., None]:
    names = [field.name for field in fields]
    known = frozenset(names)
    defaults = {field.name: field.default for field in fields if field.default is not MISSING}
    factories = {field.name: field.default_factory for field in fields if field.default_factory is not MISSING}

    def __init__(self: Any, /, *values: Any, **named: Any) -> None:
        if len(values) > len(names):
            raise TypeError(f"{title}() takes {len(names)} arguments, and {len(values)} were given")
        held = dict(zip(names, values))  # noqa: B905  # what is left gets its default
        if not named.keys() <= known:
            raise TypeError(f"{title}() got unexpected arguments: {', '.join(sorted(named.keys() - known))}")
        if twice := named.keys() & held.keys():
            raise TypeError(f"{title}() got several values for {', '.join(sorted(twice))}")
        held |= named
        if len(held) < len(names):
            held = {**defaults, **{name: make() for name, make in factories.items() if name not in held}, **held}
        if len(held) < len(names):
            raise TypeError(f"{title}() misses arguments: {', '.join(name for name in names if name not in held)}")
        self.__dict__.update(held)

    return __init__


def _representation(names: list[str]) -> Callable[[Any], str]:
    def __repr__(self: Any) -> str:
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"

    return recursive_repr()(__repr__)


def _comparisons(names: list[str]) -> dict[str, Callable[..., Any]]:
    def values(one: Any) -> tuple[Any, ...]:
        return tuple([getattr(one, name) for name in names])

    def __eq__(self: Any, other: object) -> Any:
        return values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented

    def __hash__(self: Any) -> int:
        return hash(values(self))

    return {"__eq__": __eq__, "__hash__": __hash__}


def _refuse_to_assign(_: Any, name: str, _value: Any) -> NoReturn:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_to_delete(_: Any, name: str) -> NoReturn:
    raise FrozenInstanceError(f"cannot delete field {name!r}")
