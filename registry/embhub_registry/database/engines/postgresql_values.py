"""How values and rows pass between Python and PostgreSQL: as `sqlite3` gives and takes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import psycopg
from psycopg.adapt import Buffer, Loader
from psycopg.types.numeric import Int8Dumper
from psycopg.types.string import StrDumper

from embhub_registry.http_errors import malformed


class TextDumper(StrDumper):
    """Texts are of the type `text`, so that no statement leaves their type open."""

    def dump(self, obj: str) -> Buffer | None:
        """The text in UTF-8.

        Raises:
            RequestDeniedError: 400 where it holds a NUL character, which the server cannot store.
        """
        if "\0" in obj:
            raise malformed("a text holds a NUL character", "leave it out")
        return super().dump(obj)


class FlagDumper(Int8Dumper):
    """Flags are integers, as SQLite has them."""

    def dump(self, obj: Any) -> Buffer | None:
        """0 or 1."""
        return super().dump(int(obj))


class SumLoader(Loader):
    """The sum of integers, which the server gives as `numeric`."""

    def load(self, data: Buffer) -> int:
        """The number."""
        return int(bytes(data))


def adapt(connection: psycopg.Connection[Any]) -> None:
    """Teach a connection these types."""
    for kind, dumper in ((str, TextDumper), (bool, FlagDumper), (int, Int8Dumper)):
        connection.adapters.register_dumper(kind, dumper)
    connection.adapters.register_loader("numeric", SumLoader)


class NamedRow(tuple[Any, ...]):
    """A row that answers by index and by name; a class of its own for each list of columns."""

    __slots__ = ()
    places: dict[str, int] = {}  # noqa: RUF012  # each subclass has its own

    def __getitem__(self, key: Any) -> Any:
        """One value."""
        return tuple.__getitem__(self, self.places[key] if key.__class__ is str else key)

    def keys(self) -> list[str]:
        """The names of the columns in order."""
        return list(self.places)


@lru_cache(maxsize=1024)
def _kind(names: tuple[str, ...]) -> type[NamedRow]:
    places: dict[str, int] = {}
    for index, name in enumerate(names):
        places.setdefault(name, index)
    return type("NamedRow", (NamedRow,), {"__slots__": (), "places": places})


def rows(cursor: psycopg.Cursor[Any]) -> Callable[[Sequence[Any]], NamedRow]:
    """The row factory of a cursor (psycopg's protocol)."""
    described = cursor.pgresult
    if described is None or not described.nfields:
        return NamedRow
    encoding = "utf-8"
    return _kind(tuple((described.fname(i) or b"").decode(encoding) for i in range(described.nfields)))
