"""`doctor`: what an operator gets wrong, looked at beside a running server. Nothing is changed and no lock is taken.

The facts are those of `/metrics`, `/operator` and the alerts. A check that cannot be made is a warning with its reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path

from embhub.errors import EmbhubError
from embhub_registry.database import DatabaseError
from embhub_registry.database.clock import now
from embhub_registry.operation import opening
from embhub_registry.operation.doctor_checks import doctor_machine, doctor_public, doctor_registry
from embhub_registry.operation.facts.findings import Finding, Subject, failed, warning
from embhub_registry.operation.facts.registry_facts import Facts
from embhub_registry.storage.folder import Registry

Check = Callable[[Subject], Iterable[Finding]]

# Of these each needs the database, with the schema of this program.
CHECKS: Mapping[str, Check] = {
    "database-clock": doctor_registry.database_clock,
    "disk": doctor_machine.disk,
    "keys": doctor_machine.online_keys,
    "root": doctor_registry.root,
    "keyring": doctor_registry.keyring,
    "timestamp": doctor_registry.timestamp,
    "log": doctor_registry.log,
    "upkeep": doctor_registry.upkeep,
    "deliveries": doctor_registry.deliveries,
    "backup": doctor_registry.backup,
    "address": doctor_public.address,
}


def examine(
    folder: Path, *, online_keys: Path | None = None, database: str | None = None,
    clock: Callable[[], datetime] = now,
) -> list[Finding]:  # fmt: skip
    """Every finding, in the order in which an operator would mend them.

    Args:
        folder: The registry's folder.
        online_keys: The folder of the keys that a server needs, if not the one that `init` noted.
        database: The address of its database's server, if not the one that is noted.
        clock: This machine's.

    Raises:
        ConfigError: there is no registry.
    """
    registry = opening.look_into(folder, online_keys=online_keys, database=database)
    try:
        return [*_guarded("inodes", partial(doctor_machine.inodes, folder)), *_look(registry, clock)]
    finally:
        registry.close()


def _look(registry: Registry, clock: Callable[[], datetime]) -> Iterable[Finding]:
    try:
        found = doctor_registry.schema_of(registry)
        keys = registry.private_keys
    except (EmbhubError, DatabaseError) as error:
        said = ": ".join(filter(None, (str(error), getattr(error, "detail", ""))))
        yield failed("database", " ".join(said.split()), getattr(error, "hint", "") or "see `embhub-registry check`")
        found, keys = None, None
    online = keys.online if keys is not None else registry.folder / "keys"
    yield from _guarded("folders", partial(doctor_machine.folders, registry.folder, online))
    if found is not None:
        yield found
    if found is None or found.state != "ok":
        why = "the database cannot be read" if found is None else "the schema is not this program's"
        yield from (warning(name, f"cannot be looked at: {why}", "mend that first") for name in CHECKS)
        return
    facts = {name: value for name, labels, value in Facts().read(registry, {}) if not labels}
    for name, check in CHECKS.items():
        yield from _guarded(name, partial(check, Subject(registry, facts, clock())))


def _guarded(name: str, check: Callable[[], Iterable[Finding]]) -> list[Finding]:
    try:
        return list(check())
    except (EmbhubError, DatabaseError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        hint = error.hint if isinstance(error, EmbhubError) else ""
        return [warning(name, f"cannot be looked at: {reason}", hint or "run this as the registry's own user")]
