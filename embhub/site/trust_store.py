"""The registries that this site trusts: one pinned root key each, in `config/trust/`, with the newest keyring seen.

Every use checks the stored keyring again, so that an edited file is noticed. A keyring older than one seen before, or
another one of the same version, is refused.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from embhub.durable import write_atomic
from embhub.errors import ConfigError
from embhub.formats import strict_json
from embhub.refusals import MalformedKeyringError, RollbackError, WrongRootError
from embhub.site import config
from embhub.trust import kept_advisories
from embhub.trust import keyring as keyrings
from embhub.trust.keyring import Trust, TrustExport

_SCHEMA = "embhub.pin/1"
_LIMIT = 2 * keyrings.EXPORT_BYTES


@dataclass(frozen=True)
class Root:
    """A pin, as `embhub trust list` shows it. `registry` is the address under which this site reaches it."""

    registry: str
    root_fingerprint: str
    version: int
    issued: str
    members: int


@dataclass(frozen=True)
class _Pin:
    address: str
    root_fingerprint: str
    version: int
    export: bytes

    def open(self) -> Trust:
        return keyrings.open_export(
            keyrings.parse_export(self.export), root_fingerprint=self.root_fingerprint, minimum_version=self.version
        )


def add(export: bytes, *, fingerprint: str, address: str | None = None) -> Trust:
    """Pin a registry's root key.

    Args:
        export: what `embhub-registry trust export` prints.
        fingerprint: the root key's, from a source other than the export: a person's confirmation, or the operator.
        address: where this site reaches the registry, if not at the address that the registry gives itself.

    Raises:
        WrongRootError: the export has another root key, or another one is pinned for this address.
        RollbackError: an older keyring than one seen before.
        VerificationError: any other fault of the export.
        ConfigError: the folder cannot be written.
    """
    document = keyrings.parse_export(export)
    where = config.check_registry(address or document.registry)
    known = _find(where)
    if known is not None and known.root_fingerprint != fingerprint:
        raise WrongRootError(
            f"another root key is pinned for {where}: {known.root_fingerprint}",
            f"if the operator confirms the new one, `embhub trust remove {where}` first",
        )
    return _accept(document, where=where, fingerprint=fingerprint, known=known)


def refresh(registry: str, export: bytes) -> Trust:
    """Take a newer keyring of a registry that is pinned already.

    Raises:
        ConfigError: the registry is not pinned.
        WrongRootError, Rollback, VerificationError: as `add`; the old keyring stays in force.
    """
    pin = _require(registry)
    document = keyrings.parse_export(export)
    return _accept(document, where=pin.address, fingerprint=pin.root_fingerprint, known=pin)


def load(registry: str) -> Trust:
    """The trust of one registry.

    Raises:
        ConfigError: it is not pinned, or its file is damaged.
        VerificationError: its file was edited.
    """
    return _require(registry).open()


def load_all() -> list[Trust]:
    """The trust of every registry that is pinned.

    Raises:
        ConfigError: a file is damaged.
        VerificationError: a file was edited.
    """
    return [pin.open() for pin in _pins()]


def list_roots() -> list[Root]:
    """Every pin, by address. Raises as `load_all`."""
    rows = [(pin, pin.open().keyring) for pin in _pins()]
    return [Root(pin.address, pin.root_fingerprint, ring.version, ring.issued, len(ring.members)) for pin, ring in rows]


def addresses() -> tuple[str, ...]:
    """Where the pinned registries are reached, unverified.

    Raises:
        ConfigError: a file is damaged.
    """
    return tuple(pin.address for pin in _pins())


def remove(registry: str) -> None:
    """Forget a registry, the highest keyring version seen included.

    Raises:
        ConfigError: it is not pinned.
    """
    where = config.check_registry(registry)
    try:
        _path(where).unlink()
    except FileNotFoundError as error:
        raise _unknown(where) from error
    except OSError as error:
        raise ConfigError(f"cannot remove {_path(where)}: {error.strerror}") from error


def _accept(document: TrustExport, *, where: str, fingerprint: str, known: _Pin | None) -> Trust:
    opened = keyrings.open_export(
        document, root_fingerprint=fingerprint, minimum_version=known.version if known is not None else 1
    )
    if known is not None:
        _check_succession(opened, before=known.open(), where=where)
    _save(_Pin(where, fingerprint, opened.keyring.version, document.to_bytes()))
    return opened


def _check_succession(opened: Trust, *, before: Trust, where: str) -> None:
    if opened.registry != before.registry:
        raise MalformedKeyringError(
            f"the keyring is that of {opened.registry}, before it was that of {before.registry}",
            f"if the registry was renamed, `embhub trust remove {where}` and pin it again",
        )
    if opened.keyring.version == before.keyring.version and opened.digest != before.digest:
        raise RollbackError(
            f"two different keyrings of {where} have the version {before.keyring.version}",
            "the registry shows different keyrings to different people: ask its operator",
        )
    kept_advisories.check_succession(opened, before=before)
    if brought_back := keyrings.keys_brought_back(before.keyring, opened.keyring):
        raise RollbackError(
            f"the keyring of {where} lets a revoked key count again: {', '.join(brought_back)}",
            "a revocation is final, and a member makes a new key: ask the registry's operator what happened",
        )


def _save(pin: _Pin) -> None:
    document = {
        "schema": _SCHEMA,
        "address": pin.address,
        "root_fingerprint": pin.root_fingerprint,
        "version": pin.version,
        "export": pin.export.decode("utf-8"),
    }
    write_atomic(_path(pin.address), json.dumps(document, indent=1).encode("utf-8") + b"\n", mode=0o600)


def _require(registry: str) -> _Pin:
    where = config.check_registry(registry)
    pin = _find(where)
    if pin is None:
        raise _unknown(where)
    return pin


def _find(where: str) -> _Pin | None:
    path = _path(where)
    return _read(path) if path.exists() else None


def _pins() -> list[_Pin]:
    folder = _folder()
    pins = [_read(path) for path in folder.glob("*.json")] if folder.is_dir() else []
    return sorted(pins, key=lambda pin: pin.address)


def _read(path: Path) -> _Pin:
    try:
        with path.open("rb") as stream:
            document = strict_json.read_object(stream.read(_LIMIT + 1), limit=_LIMIT)
        if document["schema"] != _SCHEMA:
            raise strict_json.JsonError(f"not {_SCHEMA}")
        pin = _Pin(
            str(document["address"]),
            str(document["root_fingerprint"]),
            int(document["version"]),
            str(document["export"]).encode("utf-8"),
        )
    except (strict_json.JsonError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path} is damaged: {error}", "remove it and pin the registry again") from error
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    if _path(pin.address) != path:
        raise ConfigError(f"{path} is not the pin of {pin.address}", "remove it and pin the registry again")
    return pin


def _unknown(where: str) -> ConfigError:
    return ConfigError(f"no root key is pinned for {where}", f"embhub trust add {where}")


def _path(where: str) -> Path:
    return _folder() / f"{hashlib.sha256(where.encode('utf-8')).hexdigest()[:32]}.json"


def _folder() -> Path:
    return config.paths().config / "trust"
