"""The keys that a server needs: what the keyring names, what is here, and their copy for a further server."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from embhub.durable import write_atomic
from embhub.errors import ConfigError, UsageError
from embhub.log import mldsa
from embhub.site.signing import keys as signing_keys
from embhub.trust.keyring import Keyring
from embhub.trust.origin import origin_of
from embhub_registry.people import secret_box
from embhub_registry.storage.folder import Registry
from embhub_registry.storage.registry_keys import BACKUP_KEY, LOG_KEY, LOG_MLDSA_KEY, PURPOSES, RegistryKeys

BACKUP = f"{BACKUP_KEY}.pem"
FILES = (*(f"{purpose}.pem" for purpose in PURPOSES), LOG_KEY, LOG_MLDSA_KEY, BACKUP, secret_box.NAME)
_LARGEST = 100_000


def compare(keys: RegistryKeys, keyring: Keyring) -> Iterator[tuple[str, str, str | None]]:
    """Each key that the keyring names for a server: its file, the name, and that of what is here, or None.

    A machine without ML-DSA-44 can say nothing of that key, and goes without.
    """
    for purpose in PURPOSES:
        if (named := (keyring.online or {}).get(purpose)) is not None:
            held = keys.online_key(purpose)
            yield f"{purpose}.pem", named.fingerprint, held.fingerprint if held else None
    if keyring.log is None:
        return
    origin = origin_of(keyring.registry)
    key = keys.log_key(origin)
    yield LOG_KEY, keyring.log.vkey, str(key.public) if key else None
    if keyring.log.mldsa is not None and mldsa.is_offered():
        second = keys.log_mldsa_key(origin)
        yield LOG_MLDSA_KEY, keyring.log.mldsa, str(second.public) if second else None


def read(source: Path, database: str) -> dict[str, bytes]:
    """The keys of a server in a folder, by file. A root key is not among them, whatever its file is called.

    Args:
        source: The folder.
        database: Address of the registry's database, whose keyring says which keys are right.

    Raises:
        UsageError: it has none of them, or one that is another.
        ConfigError: a file cannot be read, or is no key.
    """
    found = {name: data for name in FILES if (data := _bytes(source / name)) is not None}
    if not found:
        raise UsageError(f"{source} has no key of a server: nothing was made", f"it may have {', '.join(FILES)}")
    with tempfile.TemporaryDirectory(prefix="embhub-keys-") as place:  # of mode 0700: keys are only read from files
        stage = Path(place)
        for name, data in found.items():
            with os.fdopen(os.open(stage / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
                stream.write(data)
        registry = Registry(stage, online_keys=stage, database=database)
        try:
            _check(registry, source, found)
        finally:
            registry.close()
    if not mldsa.is_offered():
        found.pop(LOG_MLDSA_KEY, None)
    return found


def _check(registry: Registry, source: Path, found: Mapping[str, bytes]) -> None:
    keyring = registry.trust().keyring
    right = {name for name, named, held in compare(registry.private_keys, keyring) if held == named}
    if not mldsa.is_offered():
        right.add(LOG_MLDSA_KEY)
    if secret_box.problem(registry) is None:
        right.add(secret_box.NAME)
    if BACKUP in found:
        fingerprint = signing_keys.load(BACKUP_KEY, folder=registry.private_keys.online).fingerprint
        if fingerprint not in {key.fingerprint for key in registry.root().keys}:
            right.add(BACKUP)
    if wrong := [name for name in found if name not in right]:
        raise UsageError(
            f"in {source}, not the keys of this registry's servers: {', '.join(wrong)}: nothing was made",
            "bring the keys of a server that signs; the keyring names them",
        )


def _bytes(path: Path) -> bytes | None:
    try:
        with path.open("rb") as stream:
            return stream.read(_LARGEST)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", "run this as a user who may read it") from error


def check_room(place: Path, found: Mapping[str, bytes]) -> None:
    """Whether they can be written without replacing another key.

    Raises:
        UsageError: there is another key.
    """
    others = [name for name, data in found.items() if _bytes(place / name) not in (None, data)]
    if others:
        raise UsageError(
            f"{place} has other keys: {', '.join(others)}: nothing was made", "choose another --online-keys"
        )


def write(place: Path, found: Mapping[str, bytes]) -> None:
    """Write them for their owner alone: the folder with mode 0700, the files with 0600."""
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name, data in found.items():
        write_atomic(place / name, data, mode=0o600)
