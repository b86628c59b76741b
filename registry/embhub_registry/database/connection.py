"""The one interface that all SQL goes through: a connection a thread, transactions, rows by index and by name.

Statements are written once, for both engines: `?` and `?1` stand for values, RETURNING gives new ids, conflicts are
ON CONFLICT's. What the engines spell differently is `dialects`'. `sqlite` and `postgresql` are the two engines.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

from embhub.errors import ConfigError, RegistryError
from embhub_registry.database.call_times import CallTimes
from embhub_registry.database.dialects import Dialect


class StorageFullError(RegistryError):
    """The disk that holds the registry is full; nothing was stored."""


class DatabaseBusyError(RegistryError):
    """Another writer held the database for too long; the call may be repeated."""


class DatabaseTakenError(DatabaseBusyError):
    """The database is not this process's to write: another one has it, a newer release migrated it, or it was moved."""


def moved_meanwhile() -> DatabaseTakenError:
    """What a command gets that opened the database before `storage move` left it."""
    return DatabaseTakenError("the registry's database was moved meanwhile: nothing was stored", "run this again")


class DatabaseUnavailableError(RegistryError):
    """The database server cannot be reached, or went away; the call may be repeated.

    `detail` is what the server or the network said, for the operator alone: it names hosts and accounts.
    """

    def __init__(self, message: str, hint: str = "", *, detail: str = "") -> None:
        super().__init__(message, hint)
        self.detail = detail


class Row(Protocol):
    """One row: `row[0]`, `row["name"]`, `tuple(row)` and `dict(row)`."""

    def __getitem__(self, key: Any, /) -> Any: ...

    def __iter__(self) -> Iterator[Any]: ...

    def __len__(self) -> int: ...

    def keys(self) -> list[str]:
        """The names of the columns in order."""
        ...


class Cursor(Protocol):
    """What a statement gave."""

    @property
    def rowcount(self) -> int:
        """How many rows were changed."""
        ...

    def fetchone(self) -> Any:
        """The next row, or None."""
        ...

    def fetchall(self) -> list[Any]:
        """The rows that are left."""
        ...

    def __iter__(self) -> Iterator[Any]: ...


class Connection(Protocol):
    """A thread's connection. Outside `Database.writing` each statement sees what was committed before it."""

    @property
    def dialect(self) -> Dialect:
        """How this engine spells what differs."""
        ...

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open, which a failure of the engine ends."""
        ...

    def execute(self, statement: str, parameters: Sequence[Any] | Mapping[str, Any] = (), /) -> Cursor:
        """Run one statement."""
        ...

    def executemany(self, statement: str, parameters: Iterable[Any], /) -> Cursor:
        """Run one statement for each of the parameters."""
        ...

    def set_trace_callback(self, callback: Callable[[str], object] | None, /) -> None:
        """Call `callback` with each statement that is run, until it is None."""
        ...


class InUseError(ConfigError):
    """Another process serves the registry, or is alone with it."""


class Database:
    """A database and its connections: `Database(path)` is an SQLite file, `Database("postgresql://…")` on a server.

    Like `pathlib.Path`, it makes an object of the class that fits.
    """

    name: str
    """What messages call it: a path, or an address without its password."""
    dialect: Dialect
    path: Path
    """Of an SQLite file."""
    calls: CallTimes
    """How long transactions took, the wait for other writers included, and what failed."""

    def __new__(cls, place: Path | str = "", *, patience: float = 10.0) -> Database:
        """The engine that `place` asks for."""
        del patience
        if cls is not Database:
            return _counting(super().__new__(cls))
        engine = "postgresql:PostgresqlDatabase" if is_server(place) else "sqlite:SqliteDatabase"
        try:
            found: type[Database] = pkgutil.resolve_name(f"embhub_registry.database.engines.{engine}")
        except ModuleNotFoundError as error:
            raise ConfigError(
                "a registry on PostgreSQL needs psycopg, which is not installed",
                "pip install 'embhub-registry[postgresql]'",
            ) from error
        return _counting(super().__new__(found))

    def __init__(self, place: Path | str, *, patience: float = 10.0) -> None:
        raise NotImplementedError

    def connection(self) -> Connection:
        """The calling thread's connection, opened at its first use.

        Raises:
            ConfigError: the file cannot be opened.
            DatabaseUnavailableError: the server cannot be reached.
        """
        raise NotImplementedError

    @contextmanager
    def writing(self, *, patience: float | None = None) -> Iterator[Connection]:
        """One transaction: everything in the block, or nothing. Other writers are waited for, `patience` seconds long.

        There is one writer at a time, so what the block reads stays as it is until it has committed.

        Raises:
            StorageFullError, DatabaseBusyError, DatabaseUnavailableError: nothing was written.
        """
        with self.calls.timed("transaction"):
            try:
                with self._transaction(patience) as connection:
                    yield connection
            except (StorageFullError, DatabaseBusyError, DatabaseUnavailableError) as error:
                self.calls.failed(_reason(error))
                raise

    def _transaction(self, patience: float | None) -> AbstractContextManager[Connection]:
        raise NotImplementedError

    def open_connections(self) -> int:
        """How many connections this process has open."""
        raise NotImplementedError

    def translated(self) -> AbstractContextManager[None]:
        """Errors of the engine within the block as ours; a constraint that fails stays what it is."""
        raise NotImplementedError

    def copy_to(self, path: Path) -> None:
        """An SQLite file as of one moment, made while others read and write; durable, mode 0600.

        Raises:
            StorageFullError: nothing is left at `path`, or what was there before.
        """
        raise NotImplementedError

    def problems(self) -> list[str]:
        """What the engine itself finds wrong; empty when clean."""
        raise NotImplementedError

    @contextmanager
    def alone(self, purpose: str, *, together: bool = False) -> Iterator[None]:
        """Keep processes on other machines out; those of this machine are kept out by the folder's lock.

        Args:
            purpose: What the caller is about to do, for messages.
            together: Whether others that say so, too, are let in.
        """
        del purpose, together
        yield

    def stay_alone(self) -> None:
        """Take the lock of `alone` again where its connection was lost, if this process holds it.

        Raises:
            DatabaseTakenError: another process has taken it meanwhile.
        """

    def leadership(self, holder: str) -> Leadership | None:
        """What elects the one server that signs the log; None where there is one server at most."""
        del holder
        return None

    def wake_sequencer(self) -> None:
        """Let the server that signs the log know that there is something to sign."""

    def limit_waits(self) -> None:
        """For a server, called on its event loop's thread: a statement there has two seconds.

        After one that took longer, further ones are refused at once for two seconds, whoever sends them.
        """

    def close(self) -> None:
        """Close every thread's connection."""
        raise NotImplementedError


class Leadership:
    """Whether this process is the one that signs the log. One thread takes turns; others ask for `term`."""

    @property
    def term(self) -> int | None:
        """The number of this process's term; None while another one signs. What a later term began, ends it."""
        raise NotImplementedError

    def turn(self, seconds: float) -> None:
        """Try to become the one, or show that this process is alive; then wait to be woken, `seconds` long at most.

        Raises:
            DatabaseUnavailableError, DatabaseBusyError: the database does not answer; the term is over.
        """
        raise NotImplementedError

    def resign(self) -> None:
        """The term is over; the next turn tries again. Any thread may say so."""
        raise NotImplementedError

    def close(self) -> None:
        """Let another process have it. For the thread that takes turns."""
        raise NotImplementedError


@contextmanager
def one_moment(connection: Connection) -> Iterator[None]:
    """Every statement of the block sees the same rows. It is for reading; within a transaction it is that one."""
    if connection.in_transaction:
        yield
        return
    connection.execute(connection.dialect.snapshot)
    try:
        yield
    finally:
        if connection.in_transaction:  # a failure of the engine may have ended it
            connection.execute("ROLLBACK")


def _reason(error: RegistryError) -> str:
    if isinstance(error, StorageFullError):
        return "full"
    return "busy" if isinstance(error, DatabaseBusyError) else "unavailable"


def _counting(database: Database) -> Database:
    database.calls = CallTimes("database")
    return database


def is_server(place: Path | str) -> bool:
    """Whether this is the address of a PostgreSQL server rather than a file.

    Raises:
        ConfigError: the address is of something else.
    """
    if isinstance(place, Path) or "://" not in place:
        return False
    if place.startswith(("postgresql://", "postgres://")):
        return True
    raise ConfigError(
        "this is no address of a database that the registry can use", "give one such as postgresql://user@host/embhub"
    )
