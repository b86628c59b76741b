"""The settings file of a registry: what stands in options and variables otherwise, as YAML.

An argument goes before a variable, a variable before the file, and the file before a default.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from embhub.errors import ConfigError

SETTINGS: Mapping[str, str] = {
    "dir": "directory", "online_keys": "online_keys", "database": "database",
}  # fmt: skip
"""Name in the file -> the group's parameter."""
SERVE: Mapping[str, str] = {
    "host": "host", "port": "port", "drain_seconds": "drain", "grace_seconds": "grace", "log": "log_file",
    "accept_traceparent": "accept_traceparent",
}  # fmt: skip
"""Name under `serve` in the file -> the parameter of `serve`."""
_SECONDS = ((int, float), "a number of seconds")
_KINDS: Mapping[str, tuple[Any, str]] = {
    "port": (int, "a number"), "drain_seconds": _SECONDS, "grace_seconds": _SECONDS,
    "accept_traceparent": (bool, "true or false"),
}  # fmt: skip
"""What a setting holds that is not text."""


def read(path: Path) -> dict[str, Any]:
    """The settings, under the names of parameters, as `click.Context.default_map` takes them.

    Raises:
        ConfigError: the file is missing, malformed or open to others; or a setting is unknown or no plain value.
    """
    from embhub.formats import safe_yaml  # here: `--help` is quick

    try:
        with path.open("rb") as file:  # what is judged is what is read
            facts, data = os.fstat(file.fileno()), file.read(safe_yaml.MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", "check --settings and its folder") from error
    mode, others = stat.S_IMODE(facts.st_mode), stat.S_IWGRP | stat.S_IWOTH
    if mode & others:
        raise ConfigError(
            f"{path} can be changed by other users of this machine (mode {mode:04o})",
            f"run: chmod {mode & ~others:04o} {path}",
        )
    if facts.st_uid not in (0, os.geteuid()):
        raise ConfigError(f"{path} belongs to another user of this machine", "its owner has to be root or you")
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
        kind, words = _KINDS.get(name, (str, "text"))
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool) or value == "":
            raise ConfigError(f"{block}{name} in {path} is not {words}", "see docs/reference/registry-cli.md")
        found[known[name]] = value
    return found


def has_password(database: str) -> bool:
    """Whether a password stands in an address of a database, also in one that is malformed."""
    from embhub_registry.database.engines import postgresql_address

    login = database.partition("://")[2].partition("?")[0].rpartition("@")[0]
    return ":" in login or "password=" in database or ("://" in database and postgresql_address.has_password(database))
