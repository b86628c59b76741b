"""What this site remembers of registries: its namespace there, and the newest version it saw of each repository.

A release that is older than one accepted before is refused by `embhub.release.verification`, wherever it comes from:
registries are told apart by the name in their keyring, not by the address they are reached at. Remembering is done
here, in `state/seen.json`, which only this user can read: it tells what a hospital looked at.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from embhub.durable import write_atomic
from embhub.errors import ConfigError
from embhub.formats import names
from embhub.site import config

MAX_BYTES = 8_000_000


class Sighting(BaseModel):
    """The newest release seen of one repository: its version, the SHA-256 of its embedding, and whose key signed it.

    Sightings of the first release of embhub know no `signer`. `pinned` are older versions that were requested by their
    version since then, with the digest of each.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    signer: str | None = None
    pinned: dict[str, Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]] = {}


class _Memory(BaseModel):
    model_config = ConfigDict(extra="forbid")

    namespaces: dict[str, str] = {}
    releases: dict[str, Sighting] = {}


def accepted() -> dict[tuple[str, str], Sighting]:
    """The newest accepted release of every repository, by (registry, repository)."""
    found = {}
    for place, sighting in _read().releases.items():
        registry, _, repository = place.rpartition(" ")
        found[registry, repository] = sighting
    return found


def newest(registry: str, repository: str) -> Sighting | None:
    """The newest release of `repository` that this site accepted by the keyring of `registry`, or None."""
    return _read().releases.get(f"{registry} {repository}")


def remember(
    registry: str,
    repository: str,
    *,
    version: str,
    digest: str,
    signer: str | None = None,
    stolen: frozenset[str] = frozenset(),
) -> None:
    """Note an accepted release. One that is older than the newest is noted beside it: somebody requested this version.

    Where a key in `stolen` signed the newest, any other takes its place.
    """
    memory = _read()
    before = memory.releases.get(f"{registry} {repository}")
    if before is None or before.signer in stolen or names.version_order(version) >= names.version_order(before.version):
        pinned = before.pinned if before is not None and before.signer not in stolen else {}
        found = Sighting(version=version, digest=digest, signer=signer, pinned=pinned)
    else:
        found = before.model_copy(update={"pinned": {**before.pinned, version: digest}})
    if found != before:
        memory.releases[f"{registry} {repository}"] = found
        _write(memory)


def namespace(registry: str) -> str | None:
    """The namespace that the account at `registry` publishes under, as `login` learned it."""
    return _read().namespaces.get(registry)


def remember_namespace(registry: str, name: str) -> None:
    """Note the namespace of the account at `registry`."""
    memory = _read()
    memory.namespaces[registry] = name
    _write(memory)


def _path() -> Path:
    return config.paths().state / "seen.json"


def _read() -> _Memory:
    path = _path()
    try:
        return _Memory.model_validate_json(path.read_bytes()[:MAX_BYTES])
    except FileNotFoundError:
        return _Memory()
    except (OSError, ValidationError) as error:
        # never start afresh in silence: forgetting is what a rollback needs
        raise ConfigError(
            f"what this site remembers of releases cannot be read: {path}",
            "restore it from a backup; or remove it, knowing that older releases would then be accepted again",
        ) from error


def _write(memory: _Memory) -> None:
    document: dict[str, Any] = memory.model_dump(mode="json", exclude_defaults=True)
    write_atomic(_path(), json.dumps(document, indent=1, sort_keys=True).encode(), mode=0o600)
