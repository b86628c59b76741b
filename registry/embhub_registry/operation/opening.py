"""Opening a registry: whether folder and database belong together, and its schema brought up to date."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

from embhub.errors import ConfigError, EmbhubError
from embhub_registry.database import InUseError, schema
from embhub_registry.repositories import stolen_keys
from embhub_registry.storage import database_place
from embhub_registry.storage.audit import audit_holder
from embhub_registry.storage.folder import MOVED, Registry


def look_into(folder: Path, *, online_keys: Path | None = None, database: str | None = None) -> Registry:
    """A registry for reading alone, whatever its schema: nothing is brought up to date, and nothing compared.

    Args:
        folder: Where it is.
        online_keys: The folder of the keys that a server needs, if not the one that `init` noted.
        database: The address of its database's server, if not the one that `init` noted.

    Raises:
        ConfigError: no registry there.
    """
    place = database_place.find(folder, database)
    if isinstance(place, Path) and not place.is_file():
        raise absent(folder)
    return Registry(folder, online_keys=online_keys, database=database)


def absent(folder: Path) -> ConfigError:
    """There is no registry in the folder."""
    return ConfigError(f"{folder} holds no registry", f"make one with `embhub-registry --dir {folder} init`")


def open_folder(
    folder: Path, *, online_keys: Path | None = None, database: str | None = None,
    is_recovered: bool = False, announce: Callable[[str], object] | None = None,
) -> Registry:  # fmt: skip
    """Open a registry that `create` made, bringing its schema up to date, which a running server prevents.

    Steps that older programs may go on beside are applied while servers of a shared registry run.

    Args:
        folder: Where it is.
        online_keys: The folder of the keys that a server needs, if not the one that `init` noted.
        database: The address of its database's server, if not the one that `init` noted.
        is_recovered: Whether the files of the audit log may be in another folder, or lost.
        announce: Is given a line on the steps before the first is applied: whether servers may go on meanwhile.

    Raises:
        ConfigError: no registry there, one of a newer release, or one that another process holds and is to be migrated;
            or its audit log is elsewhere, or folder and database are of different registries.
        DatabaseUnavailableError: its database's server cannot be reached.
    """
    place = database_place.find(folder, database)
    if isinstance(place, Path) and not place.is_file():
        raise absent(folder)
    registry = Registry(folder, online_keys=online_keys, database=database)
    try:
        if not isinstance(place, Path) and schema.is_empty(registry.database):
            raise absent(folder)
        has_id = database_place.check_id(folder, registry.database.connection())
        if not has_id and not isinstance(place, Path):
            registry.audit_log.check_belongs()
        if moved := registry.setting(MOVED):
            raise ConfigError(
                f"the registry of {registry.database.name} was moved into a folder on {moved[:10]}",
                "leave --database out; drop its schema once it is not needed any more",
            )
        lacking = schema.pending(registry.database)
        if not is_recovered and (not lacking or registry.setting(audit_holder.NOTED)):
            audit_holder.check(registry.audit_log, registry.database)
        if lacking:
            _migrate(registry, lacking, announce)
        if not has_id:
            database_place.make_id_if_possible(folder, registry.database)
        with contextlib.suppress(EmbhubError):  # a keyring that cannot be read is for `check` to name
            stolen_keys.catch_up(registry)
    except BaseException:
        registry.close()
        raise
    return registry


def _migrate(registry: Registry, lacking: Sequence[schema.Step], announce: Callable[[str], object] | None) -> None:
    plan = schema.plan(lacking, registry.database)
    if announce is not None:
        announce(plan)
    together = registry.is_shared and all(step.is_rolling for step in lacking)
    try:
        with registry.alone("migrate", together=together):
            copy = schema.migrate(registry.database)
    except InUseError as error:
        raise ConfigError(
            f"{error.message}: nothing was changed; {plan}",
            "stop every server and command of this registry, then start one server of the new release, which migrates:"
            " docs/how-to/upgrade-a-registry.md",
        ) from error
    names = [step.name for step in lacking]
    registry.audit_log.write("migrated", steps=names, copy=copy.name if copy else None)
