"""Where a registry's database is: a file in its folder, or a server whose address is noted there, never a password."""

from __future__ import annotations

import os
from pathlib import Path

from embhub.durable import sync
from embhub.errors import ConfigError
from embhub_registry.database import Database, is_server
from embhub_registry.database.postgresql_address import shown
from embhub_registry.database.sqlite import SqliteDatabase

FILE = "registry.db"
NOTED = "database"


def noted(folder: Path) -> str | None:
    """The address that `init` or `move` noted; None where the database is in the folder."""
    try:
        return (folder / NOTED).read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None


def note(folder: Path, address: str | None) -> None:
    """Note the address, without its password, or with None that the database is in the folder; durable."""
    path = folder / NOTED
    if address is None:
        path.unlink(missing_ok=True)
    else:
        partial = path.with_name(f"{NOTED}.partial")
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
            stream.write(f"{shown(address)}\n")
        sync(partial)
        partial.replace(path)
    sync(folder)


def choose(folder: Path, asked: str | None) -> str | None:
    """Where the database of a new registry in this folder goes: the address asked for, or None for a file."""
    del folder
    return asked


def find(folder: Path, asked: str | None = None) -> Path | str:
    """The file, or the address: the one asked for, else the one noted.

    Raises:
        ConfigError: the address is of no database, or the folder has one of its own.
    """
    address = asked or noted(folder)
    if address is None:
        return folder / FILE
    if not is_server(address):
        raise ConfigError(
            "--database takes the address of a PostgreSQL server", "give one such as postgresql://user@host/embhub"
        )
    if (folder / FILE).exists():
        hint = f"leave --database out, or `embhub-registry --dir {folder} move --to` that server"
        if asked is None:
            hint = (
                f"`move` was interrupted: rename {FILE} to use the server; if its database says that it was moved,"
                f" name the file {FILE} again and remove {folder / NOTED}"
            )
        raise ConfigError(f"{folder} has a database of its own, {FILE}, beside the one on a server", hint)
    return address


def open_database(folder: Path, asked: str | None = None) -> Database:
    """The database that `find` finds. A file refuses writers from the moment that `move` has left it.

    Raises:
        ConfigError: as `find`.
    """
    database = Database(find(folder, asked))
    if isinstance(database, SqliteDatabase):
        database.is_left = (folder / NOTED).exists
    return database
