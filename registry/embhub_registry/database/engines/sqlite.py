"""SQLite: one file, a connection a thread, transactions, copies. Its tables are `schema`'s."""

from __future__ import annotations

import gc
import os
import sqlite3
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from embhub.durable import sync
from embhub.errors import ConfigError
from embhub_registry.database.connection import (
    Connection,
    Database,
    DatabaseBusyError,
    StorageFullError,
    moved_meanwhile,
)
from embhub_registry.database.dialects import SQLITE

DatabaseError = sqlite3.DatabaseError
CACHE_KIB = 16_000  # pages that a connection keeps at most; with SQLite's 2,000 a search reads most of them anew
HEAP_BYTES = 200_000_000  # of all connections of a process together: beyond, a page takes the place of another


class SqliteConnection(sqlite3.Connection):
    """The driver's own, which answers to the interface as it is."""

    dialect = SQLITE

    def execute(self, statement: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """The driver's own, with values for numbered placeholders given by name."""
        return super().execute(statement, _named(statement, parameters))

    def executemany(self, statement: str, parameters: Iterable[Any], /) -> sqlite3.Cursor:
        """The same, once for each set of values."""
        return super().executemany(statement, (_named(statement, each) for each in parameters))

    def __del__(self) -> None:
        with suppress(sqlite3.Error):
            self.close()  # its thread has ended, or the database was closed


def _named(statement: str, parameters: Sequence[Any] | Mapping[str, Any]) -> Sequence[Any] | Mapping[str, Any]:
    """`?1` is a name to Python's driver, which from 3.14 on binds no sequence to names."""
    if "?1" not in statement or isinstance(parameters, Mapping):
        return parameters
    return {str(number): value for number, value in enumerate(parameters, start=1)}


class SqliteDatabase(Database):
    """`WAL` lets readers go on while one writer commits; with `FULL` an acknowledged commit survives power loss."""

    dialect = SQLITE

    def __init__(self, place: Path | str, *, patience: float = 10.0) -> None:
        self.path = Path(place)
        self.name = str(self.path)
        self.was_moved: Callable[[], bool] = lambda: False  # whether `storage move` has left it; its registry says how
        self._patience = patience
        self._local = threading.local()
        self._all: weakref.WeakSet[SqliteConnection] = weakref.WeakSet()  # a thread that ends closes its own
        self._guard = threading.Lock()

    def connection(self) -> SqliteConnection:
        """The calling thread's connection, opened at its first use.

        Raises:
            ConfigError: the file cannot be opened.
        """
        found: SqliteConnection | None = getattr(self._local, "connection", None)
        if found is not None:
            return found
        if self.was_moved():
            raise moved_meanwhile()  # a new, empty file would be made
        try:
            self._keep_to_owner()
            opened = sqlite3.connect(
                self.path, timeout=self._patience, isolation_level=None, check_same_thread=False,
                cached_statements=256, factory=SqliteConnection,
            )  # fmt: skip
            opened.row_factory = sqlite3.Row
            opened.execute("PRAGMA journal_mode = WAL")
            opened.execute("PRAGMA synchronous = FULL")
            opened.execute("PRAGMA foreign_keys = ON")
            opened.execute("PRAGMA trusted_schema = OFF")
            opened.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            opened.execute(f"PRAGMA soft_heap_limit = {HEAP_BYTES}")
        except (sqlite3.Error, OSError) as error:
            if not os.access(self.path.parent, os.W_OK):
                raise ConfigError(
                    f"the registry's folder {self.path.parent} cannot be written: its database cannot be opened",
                    "remount its disk for writing, or work as the folder's owner",
                ) from error
            raise ConfigError(
                f"cannot open the registry's database {self.path}: {error}", "check the folder's owner and free space"
            ) from error
        self._local.connection = opened
        with self._guard:
            self._all.add(opened)
        return opened

    def _keep_to_owner(self) -> None:
        """Mode 0600 for the file, made here where it is new; SQLite gives its mode to the files beside it.

        A database that is there must not be opened and closed but by SQLite: its locks would be gone (sqlite.org,
        "How To Corrupt An SQLite Database File", section 2.2). So a new one comes by `link`, after its last `close`.
        """
        with suppress(OSError):  # a disk that cannot be written, or a file of somebody else: SQLite says what is wrong
            if not self.path.exists():
                handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=f"{self.path.name}.")
                os.close(handle)
                try:
                    os.link(name, self.path)
                finally:
                    Path(name).unlink()
            for file in (self.path, *(self.path.with_name(self.path.name + end) for end in ("-wal", "-shm"))):
                if file.exists() and file.stat().st_mode & 0o077:
                    file.chmod(0o600)

    @contextmanager
    def _transaction(self, patience: float | None) -> Iterator[Connection]:
        connection = self.connection()
        with translated():
            self._begin(connection, patience)
            try:
                if self.was_moved():
                    raise moved_meanwhile()
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def _begin(self, connection: SqliteConnection, patience: float | None) -> None:
        if patience is None:
            connection.execute("BEGIN IMMEDIATE")
            return
        connection.execute(f"PRAGMA busy_timeout = {round(patience * 1000)}")
        try:
            connection.execute("BEGIN IMMEDIATE")
        finally:
            connection.execute(f"PRAGMA busy_timeout = {round(self._patience * 1000)}")

    def copy_to(self, path: Path) -> None:
        """A copy as of one moment, made while others read and write (SQLite's online backup); durable, mode 0600.

        Raises:
            StorageFullError: nothing is left at `path`, or what was there before.
        """
        partial = path.with_name(f"{path.name}.partial")
        partial.unlink(missing_ok=True)
        try:
            os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            with translated(), closing(sqlite3.connect(partial)) as target:
                self.connection().backup(target)
                target.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
            sync(partial)
            partial.replace(path)
            sync(path.parent)
        except OSError as error:
            raise StorageFullError(
                f"cannot write {partial}: {error.strerror}", "free space there, or make the folder writable"
            ) from error
        finally:
            partial.unlink(missing_ok=True)

    def translated(self) -> AbstractContextManager[None]:
        """SQLite's operational errors as ours."""
        return translated()

    def problems(self) -> list[str]:
        """What SQLite itself finds wrong with the file; empty when clean."""
        connection = self.connection()
        try:
            found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok"]
            found += [f"foreign key: {tuple(row)}" for row in connection.execute("PRAGMA foreign_key_check")]
        except sqlite3.DatabaseError as error:
            return [f"database: {error}"]
        return found

    def open_connections(self) -> int:
        """See `Database`."""
        with self._guard:
            return len(self._all)

    def close(self) -> None:
        """Close every thread's connection; the last one folds the write-ahead log into the file.

        One that a thread is working with closes when that lets go of it: the driver crashes if it is closed meanwhile.
        """
        own: SqliteConnection | None = getattr(self._local, "connection", None)
        self._local = threading.local()
        if own is not None:
            own.close()
            with self._guard:
                self._all.discard(own)
        if self.open_connections():
            gc.collect()  # a connection and its cached statements refer to each other


@contextmanager
def reading_copy(path: Path) -> Iterator[Connection]:
    """A finished copy, read without a byte of it or beside it being written.

    Raises:
        ConfigError: it is no database.
    """
    try:
        opened = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True, factory=SqliteConnection)
    except sqlite3.Error as error:
        raise ConfigError(f"cannot open {path}: {error}", "check that it is a copy of a registry's database") from error
    opened.row_factory = sqlite3.Row
    with closing(opened):
        yield opened


@contextmanager
def translated() -> Iterator[None]:
    """SQLite's operational errors as ours; a constraint that fails stays what it is."""
    try:
        yield
    except sqlite3.OperationalError as error:
        text = str(error)
        if "full" in text or "disk I/O" in text:
            raise StorageFullError(
                f"the registry could not store this: {text}", "ask the operator to free space"
            ) from error
        if "locked" in text or "busy" in text:
            raise DatabaseBusyError("the registry is busy with other writers", "try again in a moment") from error
        if "readonly" in text:
            raise StorageFullError(
                "the registry's folder is read-only", "ask the operator to remount it for writing"
            ) from error
        raise
