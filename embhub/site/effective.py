"""Which settings are in force, and where each comes from. No secret is in any of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from embhub.site import config
from embhub.site.config import SETTINGS, Setting

HIDDEN = "set (not shown)"
DEFAULT = "default"


@dataclass(frozen=True)
class Effective:
    """One setting: its value as text, and the variable, the file or `default` that it comes from."""

    setting: str
    value: str
    source: str


def effective() -> list[Effective]:
    """Every setting of `config.SETTINGS`, then the folders.

    Raises:
        ConfigError: the files cannot be read, or hold something that is no setting.
    """
    file = config.paths().config / "config.yaml"
    written = config.read_config()
    rows = [_settle(setting, written, file) for setting in SETTINGS if setting.name != "home"]
    where = "EMBHUB_HOME" if config.variable("EMBHUB_HOME") else "XDG folders"
    folders = config.paths()
    places = (("config folder", folders.config), ("state folder", folders.state), ("cache folder", folders.cache))
    return [*rows, *(Effective(name, str(path), where) for name, path in places)]


def _settle(setting: Setting, written: dict[str, object], file: Path) -> Effective:
    if setting.name == "token":
        return _token()
    if setting.variable and (value := config.variable(setting.variable)):
        return Effective(setting.name, value, setting.variable)
    if setting.file_key and (found := written.get(setting.file_key)):
        value = ", ".join(map(str, found)) if isinstance(found, dict) else str(found)  # of `site` the names alone
        return Effective(setting.name, value, str(file))
    return Effective(setting.name, setting.default, DEFAULT)


def _token() -> Effective:
    if config.variable("EMBHUB_TOKEN"):
        return Effective("token", HIDDEN, "EMBHUB_TOKEN")
    stored = config.registries_logged_in()
    if not stored:
        return Effective("token", "", DEFAULT)
    return Effective("token", f"{HIDDEN} for {', '.join(stored)}", str(config.paths().config / "credentials.yaml"))
