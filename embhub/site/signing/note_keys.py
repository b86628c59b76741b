"""Keys that sign notes: a log's, and a witness's. A file each, for its owner alone, without a passphrase."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from embhub.errors import ConfigError
from embhub.log import mldsa
from embhub.site.signing import keys

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

_LARGEST = 10_000


def load(path: Path) -> Ed25519PrivateKey:
    """The Ed25519 key in a PEM file.

    Raises:
        ConfigError: it is not there, others can read it, or it is another kind of key.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = _read(path)
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{path} is not an Ed25519 key", "logs and witnesses sign with keys of their own")
    return key


def load_mldsa(path: Path) -> MLDSA44PrivateKey:
    """The ML-DSA-44 key in a PEM file, where this machine has ML-DSA-44.

    Raises:
        ConfigError: as `load`.
    """
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

    key = _read(path)
    if not isinstance(key, MLDSA44PrivateKey):
        raise ConfigError(f"{path} is not an ML-DSA-44 key", "restore the one that was made beside the log's key")
    return key


def _read(path: Path) -> object:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        with path.open("rb") as stream:
            mode, data = os.fstat(stream.fileno()).st_mode & 0o777, stream.read(_LARGEST)
    except OSError as error:
        raise ConfigError(f"cannot read the key {path}: {error.strerror}", "name the file of an Ed25519 key") from error
    if mode & 0o077:
        raise ConfigError(f"others can read the key {path} (mode {mode:04o})", f"chmod 600 {path}")
    try:
        return load_pem_private_key(data, password=None)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path} is not a private key in PEM, without a passphrase", "name another file") from error


def make(path: Path) -> Ed25519PrivateKey:
    """A new Ed25519 key in a file that must not exist yet.

    Raises:
        ConfigError: it exists, or cannot be written.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    _write(path, key)
    return key


def make_mldsa(path: Path) -> MLDSA44PrivateKey:
    """A new ML-DSA-44 key, likewise.

    Raises:
        ConfigError: as `make`.
    """
    key = mldsa.generate()
    _write(path, key)
    return key


def _write(path: Path, key: Ed25519PrivateKey | MLDSA44PrivateKey) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    keys.create(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
