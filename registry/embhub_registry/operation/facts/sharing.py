"""`storage share` and `storage join`: from one server to many over one database, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from embhub.errors import ConfigError, UsageError
from embhub_registry.database import Database, is_server, schema
from embhub_registry.database.dialects import SQLITE
from embhub_registry.database.people import accounts
from embhub_registry.operation.keyrings import server_keys
from embhub_registry.people import secret_box
from embhub_registry.storage import database_place
from embhub_registry.storage.audit import audit_holder, audit_places
from embhub_registry.storage.audit.audit_log import DATABASE
from embhub_registry.storage.folder import ONLINE_KEYS, SHARED, Registry
from embhub_registry.storage.registry_keys import RegistryKeys


def share(registry: Registry) -> dict[str, Any]:
    """Let any number of servers serve the registry. The audit log's lines go into the database, in one transaction.

    Raises:
        UsageError: its database is where one process alone may be, or it is shared already.
        ConfigError: a server uses it, or its audit log is not whole. Nothing was changed.
    """
    if registry.database.dialect is SQLITE:
        raise UsageError(
            "only a registry on PostgreSQL can have several servers",
            "`storage move` takes rows and files there",
        )
    with registry.alone("share"):
        if registry.is_shared:
            raise UsageError(
                "the registry is shared already", "`storage share --off` lets one server at a time serve it"
            )
        with registry.database.writing() as db:
            files = audit_places.to_database(registry.audit_log, db)
            secret_box.share(registry, db)
            accounts.write_setting(db, SHARED, "yes")
        kept = audit_places.set_aside(files)
    registry.audit_log.write("shared")
    return {"shared": True, "kept": kept}


def unshare(registry: Registry) -> dict[str, Any]:
    """One server at a time again; the audit log's lines go back into files, of this folder alone.

    Raises:
        UsageError: it is not shared. ConfigError: a server uses it, or the audit log is not whole.
    """
    with registry.alone("share"):
        if registry.setting(SHARED) != "yes" and registry.audit_log.head().place != DATABASE:
            raise UsageError(
                "the registry is not shared: nothing was changed", "`storage share` lets several servers serve it"
            )
        with registry.database.writing() as db:
            audit_places.to_files(registry.audit_log, db)
            audit_holder.claim(registry.folder, db)
            accounts.write_setting(db, SHARED, "no")
    registry.audit_log.write("not-shared")
    return {"shared": False, "kept": []}


def join(
    folder: Path, address: str | None, *, keys_from: Path | None = None, online_keys: Path | None = None
) -> dict[str, Any]:
    """Make the folder of a further server: the address of the database, without its password, and the registry's id.

    Args:
        folder: The new folder.
        address: Of the registry's database.
        keys_from: A folder with the keys of another server, to be copied.
        online_keys: Where they go, if not into the place that `init` noted.

    Raises:
        UsageError: no address, a folder that holds something, a registry that is not shared, or keys of another one.
        ConfigError: the folder cannot be written. DatabaseUnavailableError: the database cannot be reached.
    """
    if not address or not is_server(address):
        raise UsageError(
            "`storage join` needs the address of the registry's database", "give --database postgresql://…"
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not empty: nothing was changed", "choose a new folder with --dir")
    database = Database(address)
    try:
        is_shared = not schema.is_empty(database) and accounts.read_setting(database.connection(), SHARED) == "yes"
        if not is_shared:
            raise UsageError(
                f"{database.name} holds no registry that is shared: nothing was made",
                "run `storage share` where it is served now",
            )
        noted = accounts.read_setting(database.connection(), ONLINE_KEYS)
        place = RegistryKeys(folder, online_keys or (Path(noted) if noted else None)).online
        found = server_keys.read(keys_from, address) if keys_from else {}
        server_keys.check_room(place, found)
        try:
            (folder / "keys").mkdir(parents=True, mode=0o700)
            folder.chmod(0o700)
            database_place.note(folder, address)
            with database.writing() as db:
                database_place.make_id(folder, db)
            server_keys.write(place, found)
        except OSError as error:
            raise ConfigError(f"cannot write {folder}: {error.strerror}", "choose another --dir") from error
        name = accounts.read_setting(database.connection(), "name") or ""
        return {"dir": str(folder), "database": database.name, "name": name, "keys": str(place), "copied": list(found)}
    finally:
        database.close()
