"""What an operator chose, read from the database; a running server sees a change within seconds."""

from __future__ import annotations

from typing import Any

from embhub_registry.database import Connection
from embhub_registry.database.people import accounts
from embhub_registry.storage.folder import Registry
from embhub_registry.storage.settings import SETTINGS, Value, parse


def read(db: Connection, name: str) -> Value:
    """The value in force."""
    found = accounts.read_setting(db, name)
    return parse(name, SETTINGS[name].default if found is None else found)


def number(db: Connection, name: str) -> float:
    """The value in force of a setting that always is a number."""
    value = read(db, name)
    assert isinstance(value, float)  # noqa: S101  # settings of this name hold one
    return value


def word(db: Connection, name: str) -> str:
    """The value in force of a setting that is one of several words."""
    value = read(db, name)
    assert isinstance(value, str)  # noqa: S101  # settings of this name hold one
    return value


def limit(db: Connection, name: str) -> float | None:
    """The value in force of a setting that is a number, or None without a limit."""
    value = read(db, name)
    assert value is None or isinstance(value, float)  # noqa: S101  # settings of this name hold one
    return value


def write(registry: Registry, name: str, text: str) -> dict[str, Any]:
    """Choose.

    Raises:
        UsageError: no such setting, or not a value of it.
    """
    parse(name, text)
    with registry.database.writing() as db:
        before = accounts.read_setting(db, name)
        accounts.write_setting(db, name, text.strip())
    registry.audit_log.write("setting-changed", name=name, value=text.strip(), before=before)
    return {"name": name, "value": text.strip()}


def list_all(registry: Registry) -> dict[str, Any]:
    """Every setting: its value, whether somebody chose it, and what it means."""
    db = registry.database.connection()
    rows = []
    for name, setting in SETTINGS.items():
        found = accounts.read_setting(db, name)
        value = setting.default if found is None else found
        rows.append({"name": name, "value": value, "chosen": found is not None, "meaning": setting.meaning})
    return {"settings": rows}
