"""The settings file of a registry: what stands in options and variables otherwise, as YAML.

An argument goes before a variable, a variable before the file, and the file before a default.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from embhub.errors import ConfigError

SETTINGS: Mapping[str, str] = {
    "dir": "directory", "online_keys": "online_keys", "database": "database", "blobs": "blobs",
}  # fmt: skip
"""Name in the file -> the group's parameter."""
SERVE: Mapping[str, str] = {
    "host": "host", "port": "port", "drain_seconds": "drain", "grace_seconds": "grace", "log": "log_file",
    "accept_traceparent": "accept_traceparent",
}  # fmt: skip
"""Name under `serve` in the file -> the parameter of `serve`."""


def read(path: Path) -> dict[str, Any]:
    """The settings, under the names of parameters, as `click.Context.default_map` takes them.

    Raises:
        ConfigError: the file is missing, malformed or open to others; or a setting is unknown or no plain value.
    """
    from embhub.formats import safe_yaml  # here: `--help` is quick

    try:
        mode, data = stat.S_IMODE(path.stat().st_mode), path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", "check --settings and its folder") from error
    if mode & stat.S_IWOTH:
        raise ConfigError(
            f"{path} can be changed by other users of this machine (mode {mode:04o})",
            f"run: chmod {mode & ~stat.S_IWOTH:04o} {path}",
        )
    try:
        values = safe_yaml.load(data)
    except safe_yaml.YamlError as error:
        raise ConfigError(f"{path} is not a settings file: {error}", "see docs/reference/registry-cli.md") from error
    found = _named(path, "", values, SETTINGS, also="serve")
    if isinstance(values, dict) and "serve" in values:
        found["serve"] = _named(path, "serve.", values["serve"], SERVE)
    if mode & (stat.S_IRWXG | stat.S_IRWXO) and has_password(found.get("database", "")):
        raise ConfigError(
            f"{path} holds a password and can be read by others (mode {mode:04o})", f"run: chmod 0600 {path}"
        )
    return found


def apply(context: click.Context, _: click.Parameter, path: Path | None) -> None:
    """The callback of `--settings`: what the file says becomes the default of the other options."""
    if path is not None and not context.resilient_parsing:
        context.default_map = read(path)


def _named(path: Path, block: str, values: Any, known: Mapping[str, str], *, also: str = "") -> dict[str, Any]:
    """The plain values of a block, under the names of parameters."""
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{block.rstrip('.') or path} has no lines `name: value`", f"settings: {', '.join(known)}")
    found = {}
    for name, value in values.items():
        if name == also:
            continue
        if name not in known:
            raise ConfigError(f"unknown setting in {path}: {f'{block}{name}'!a}", f"known: {', '.join(known)}")
        flag = known[name] == "accept_traceparent"
        if not isinstance(value, bool if flag else (str, int, float)) or (isinstance(value, bool) and not flag):
            raise ConfigError(
                f"{block}{name} in {path} is not {'true or false' if flag else 'a plain value'}",
                "see docs/reference/registry-cli.md",
            )
        found[known[name]] = value if flag else str(value)
    return found


def has_password(database: str) -> bool:
    """Whether a password stands in an address of a database, also in one that is malformed."""
    from embhub_registry.database import postgresql_address

    login = database.partition("://")[2].partition("/")[0].rpartition("@")[0]
    return ":" in login or "password=" in database or ("://" in database and postgresql_address.has_password(database))
