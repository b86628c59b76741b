"""A site's pins as files in `config/trust/`: one of each address, with the root, and the keyring seen last."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from embhub.durable import write_atomic
from embhub.errors import ConfigError
from embhub.formats import strict_json
from embhub.site import config
from embhub.site.pins import pin_names
from embhub.trust import keyring as keyrings
from embhub.trust.keyring import Trust

_SCHEMA = "embhub.pin/3"
_LIMIT = 4 * keyrings.EXPORT_BYTES


@dataclass(frozen=True)
class Pin:
    """A keyring as it is kept, and the root that a person pinned."""

    address: str
    root_fingerprint: str
    version: int
    export: bytes
    namespaces: tuple[str, ...] | None = None
    confirmed: bytes | None = None  # the keyring that a person of this site agreed to last
    withdrawn_before: bytes | None = None  # what was withdrawn under earlier keys for advisories, and binds on

    def open(self) -> Trust:
        """What this address showed, checked against the pinned root. VerificationError where the file was edited."""
        opened = _open(self.export, self.root_fingerprint, self.version)
        return replace(opened, withdrawn_before=self.withdrawn_before)

    def in_force(self, among: Sequence[Pin]) -> Trust:
        """What counts at this address: another pin's keyring, where that followed a change of root and this did not."""
        limit = None if self.namespaces is None else frozenset(self.namespaces)
        return replace(pin_names.in_force(self, among=among).open(), namespaces=limit)


@lru_cache(maxsize=16)
def _open(export: bytes, root_fingerprint: str, version: int) -> Trust:
    """The file is read at each use; the signatures on bytes that were checked in this process hold."""
    return keyrings.open_export(
        keyrings.parse_export(export), root_fingerprint=root_fingerprint, minimum_version=version
    )


def save(pin: Pin) -> None:
    """Keep a pin in place of an earlier one of its address. OSError where it cannot be written."""
    document = {
        "schema": _SCHEMA,
        "address": pin.address,
        "root_fingerprint": pin.root_fingerprint,
        "version": pin.version,
        "export": pin.export.decode("utf-8"),
        "namespaces": pin.namespaces,
        "confirmed": _text(pin.confirmed),
        "withdrawn_before": _text(pin.withdrawn_before),
    }
    write_atomic(path_of(pin.address), json.dumps(document, indent=1).encode("utf-8") + b"\n", mode=0o600)


def require(registry: str) -> Pin:
    """The pin of an address.

    Raises:
        ConfigError: there is none, or its file is damaged.
    """
    where = config.check_registry(registry)
    pin = find(where)
    if pin is None:
        raise unknown(where)
    return pin


def find(where: str) -> Pin | None:
    """The pin of a checked address, or None. Raises ConfigError."""
    path = path_of(where)
    return _read(path) if path.exists() else None


def read_all() -> list[Pin]:
    """Every pin, by address. Raises ConfigError."""
    folder = _folder()
    pins = [_read(path) for path in folder.glob("*.json")] if folder.is_dir() else []
    return sorted(pins, key=lambda pin: pin.address)


def _read(path: Path) -> Pin:
    try:
        with path.open("rb") as stream:
            document = strict_json.read_object(stream.read(_LIMIT + 1), limit=_LIMIT)
        if document["schema"] != _SCHEMA:
            raise strict_json.JsonError(f"not {_SCHEMA}")
        pin = Pin(
            str(document["address"]),
            str(document["root_fingerprint"]),
            int(document["version"]),
            str(document["export"]).encode("utf-8"),
            None if document["namespaces"] is None else tuple(str(name) for name in document["namespaces"]),
            _bytes(document["confirmed"]),
            _bytes(document["withdrawn_before"]),
        )
    except (strict_json.JsonError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path} is damaged: {error}", "remove it and pin the registry again") from error
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    if path_of(pin.address) != path:
        raise ConfigError(f"{path} is not the pin of {pin.address}", "remove it and pin the registry again")
    return pin


def _text(data: bytes | None) -> str | None:
    return None if data is None else data.decode("utf-8")


def _bytes(text: object) -> bytes | None:
    return None if text is None else str(text).encode("utf-8")


def unknown(where: str) -> ConfigError:
    """What is said of an address that is not pinned."""
    return ConfigError(f"no root key is pinned for {where}", f"embhub trust add {where}")


def path_of(where: str) -> Path:
    """The file of an address's pin."""
    return _folder() / f"{hashlib.sha256(where.encode('utf-8')).hexdigest()[:32]}.json"


def _folder() -> Path:
    return config.paths().config / "trust"
