"""Into which folders this site pulled which release: what `embhub verify --pulled` looks through.

Kept in `state/pulled.json`, which only this user can read: it tells what a hospital looked at, and where it is.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from embhub.durable import locked, write_atomic
from embhub.errors import ConfigError
from embhub.site import config

MAX_BYTES = 16_000_000


class Pulled(BaseModel):
    """One pull: the registry by its name in the keyring, what was signed, and whose key signed it."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    registry: str
    repository: str
    version: str
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    namespace: str
    signer: str
    commit: str
    pulled: str


class _Memory(BaseModel):
    model_config = ConfigDict(extra="ignore", defer_build=True)

    folders: dict[str, Pulled] = {}


def remember(folder: Path, pulled: Pulled) -> None:
    """Note a pull; a later one into the same folder takes its place.

    Raises:
        ConfigError: what was noted before cannot be read, or the folder cannot be written.
    """
    with locked(_path()):
        memory = _read()
        memory.folders[str(folder.resolve())] = pulled
        document = memory.model_dump(mode="json")
        write_atomic(_path(), json.dumps(document, indent=1, sort_keys=True).encode(), mode=0o600)


def all_folders() -> dict[Path, Pulled]:
    """Every folder that a release was pulled into, whether it is still there or not."""
    return {Path(folder): pulled for folder, pulled in sorted(_read().folders.items())}


def _path() -> Path:
    return config.paths().state / "pulled.json"


def _read() -> _Memory:
    path = _path()
    try:
        return _Memory.model_validate_json(path.read_bytes()[:MAX_BYTES])
    except FileNotFoundError:
        return _Memory()
    except (OSError, ValidationError) as error:
        raise ConfigError(
            f"what this site pulled, and where, cannot be read: {path}",
            "restore it from a backup; or remove it, and check folders one by one with `embhub verify --pulled FOLDER`",
        ) from error
