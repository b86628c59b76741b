"""Where a registry's database is: a file in its folder, or a server whose address is noted there, never a password."""

from __future__ import annotations

import contextlib
import secrets
from pathlib import Path

from embhub.durable import sync, write_atomic
from embhub.errors import ConfigError, EmbhubError
from embhub_registry.database import Connection, Database, is_server
from embhub_registry.database.engines.postgresql_address import shown
from embhub_registry.database.engines.sqlite import SqliteDatabase
from embhub_registry.database.people import accounts

FILE = "registry.db"
NOTED = "database"
ID = "registry-id"  # a file in the folder, and a setting: that database and folder are of one registry


def noted(folder: Path) -> str | None:
    """The address that `init` or `storage move` noted; None where the database is in the folder."""
    try:
        return (folder / NOTED).read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None


def note(folder: Path, address: str | None) -> None:
    """Note the address, without its password, or with None that the database is in the folder; durable."""
    if address is None:
        (folder / NOTED).unlink(missing_ok=True)
        sync(folder)
    else:
        write_atomic(folder / NOTED, f"{shown(address)}\n".encode(), mode=0o600)


def noted_id(folder: Path) -> str:
    """The registry's id in its folder; "" where there is none, as in one that was restored from a backup."""
    try:
        return (folder / ID).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""


def check_id(folder: Path, db: Connection) -> bool:
    """Whether folder and database have the same id; False where one of them has none yet.

    Raises:
        ConfigError: they are of different registries.
    """
    here, there = noted_id(folder), accounts.read_setting(db, ID) or ""
    if here and there and here != there:
        raise ConfigError(
            f"{folder} and this database are of different registries: nothing was changed",
            "check --dir, --database and EMBHUB_REGISTRY_DATABASE",
        )
    return bool(here and there)


def make_id(folder: Path, db: Connection) -> None:
    """Give database and folder one id, which is the one that either has, within a transaction."""
    known = accounts.read_setting(db, ID) or noted_id(folder) or secrets.token_hex(16)
    accounts.write_setting(db, ID, known)
    write_atomic(folder / ID, f"{known}\n".encode(), mode=0o600)


def make_id_if_possible(folder: Path, database: Database) -> None:
    """The same for a folder without one, which goes on without where it cannot be written."""
    with contextlib.suppress(EmbhubError, OSError), database.writing() as db:
        make_id(folder, db)


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
        hint = f"leave --database out, or `embhub-registry --dir {folder} storage move --to` that server"
        if asked is None:
            hint = (
                f"`storage move` was interrupted: rename {FILE} to use the server; if its database says that it was"
                f" moved, name the file {FILE} again and remove {folder / NOTED}"
            )
        raise ConfigError(f"{folder} has a database of its own, {FILE}, beside the one on a server", hint)
    return address


def open_database(folder: Path, asked: str | None = None) -> Database:
    """The database that `find` finds. A file refuses writers from the moment that `storage move` has left it.

    Raises:
        ConfigError: as `find`.
    """
    database = Database(find(folder, asked))
    if isinstance(database, SqliteDatabase):
        database.was_moved = (folder / NOTED).exists
    return database
