"""Sealed statements: a public value that binds a site to private facts without telling them.

HMAC-SHA256 under a random key that never leaves the site. Unlike a plain hash it is no membership oracle: who guesses
the facts cannot check the guess. An auditor on site, given key and facts, can.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from pathlib import Path
from typing import Any

import rfc8785

from embhub.durable import locked, write_atomic
from embhub.errors import ConfigError
from embhub.site import config

_BYTES = 32


def commit(facts: dict[str, Any]) -> str:
    """HMAC-SHA256 (hex) of the canonical JSON (RFC 8785) of `facts`, under this site's key; makes the key if need be.

    Raises:
        ConfigError: the key cannot be written or read, is damaged, or others can read it.
    """
    return hmac.new(_key(), rfc8785.dumps(facts), hashlib.sha256).hexdigest()


def derive_seed(facts: dict[str, Any]) -> int:
    """A seed (below 2^62) that follows from `facts` for this site alone: kept nowhere, and drawn again from its key.

    Raises:
        ConfigError: as `commit`.
    """
    return int.from_bytes(hmac.new(_key(), b"seed\0" + rfc8785.dumps(facts), hashlib.sha256).digest()[:8]) >> 2


def derive_key(purpose: str) -> bytes:
    """A key (32 bytes) of this site for one purpose, from its commitment key: which is to be kept and backed up.

    Raises:
        ConfigError: as `commit`.
    """
    return hmac.new(_key(), b"key\0" + purpose.encode("utf-8"), hashlib.sha256).digest()


def _key() -> bytes:
    path = config.paths().config / "commitment.key"
    if not path.exists():
        _create(path)
    try:
        mode, key = path.stat().st_mode, path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    if mode & 0o077:
        raise ConfigError(f"others can read {path}", f"chmod 600 {path}")
    if len(key) != _BYTES:
        raise ConfigError(f"{path} is damaged", "restore it: without it old commitments cannot be opened")
    return key


def _create(path: Path) -> None:
    with locked(path):
        if not path.exists():  # another process may have been first: what was sealed under a key that is gone stays so
            write_atomic(path, secrets.token_bytes(_BYTES), mode=0o600)
