"""Encryption of what the registry must read back and a stolen database must not give: TOTP secrets.

The key is a file beside the online keys, in no backup: after a restore elsewhere, people set up their logins again.
Servers that share a registry have copies of one key: `storage share` makes it and notes its digest; no server makes
another.
"""

from __future__ import annotations

import hashlib
import os
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from embhub.durable import locked, write_atomic
from embhub_registry.database import Connection
from embhub_registry.database.people import accounts
from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.storage.folder import Registry

NAME = "logins.key"
NOTED = "logins_key"  # a setting of a registry that is shared: the digest of the key


class SealedElsewhereError(Exception):
    """It was not encrypted with this machine's key, or for another account."""


def seal(registry: Registry, plain: bytes, *, about: str) -> bytes:
    """`plain` encrypted (AES-256-GCM), to be opened for the same `about` alone.

    Raises:
        RequestDeniedError: 503 on a server that lacks the key of those that share the registry.
    """
    nonce = os.urandom(12)
    return nonce + AESGCM(_key(registry)).encrypt(nonce, plain, about.encode())


def open_sealed(registry: Registry, sealed: bytes, *, about: str) -> bytes:
    """What was sealed.

    Raises:
        SealedElsewhereError: the key or `about` is another one, or a byte was changed.
        RequestDeniedError: 503 on a server that lacks the key of those that share the registry.
    """
    try:
        return AESGCM(_key(registry)).decrypt(sealed[:12], sealed[12:], about.encode())
    except (InvalidTag, ValueError) as error:
        raise SealedElsewhereError from error


def share(registry: Registry, db: Connection) -> None:
    """Make the key, where there is none yet, and note which one all servers have, within a transaction."""
    accounts.write_setting(db, NOTED, _digest(_own_key(registry)))


def problem(registry: Registry) -> str | None:
    """Why this server cannot work with login codes; None where it can."""
    noted = registry.setting(NOTED) if registry.is_shared else ""
    if not noted:
        return None
    try:
        key = (registry.private_keys.online / NAME).read_bytes()
    except FileNotFoundError:
        return f"{NAME} is missing"
    except OSError:
        return f"{NAME} cannot be read"
    return None if _digest(key) == noted else f"{NAME} is another one"


def _key(registry: Registry) -> bytes:
    if problem(registry) is not None:
        raise RequestDeniedError(
            503, "logins-key", "this server cannot check login codes", "try again; its operator finds more in /readyz"
        )
    return _own_key(registry)


def _own_key(registry: Registry) -> bytes:
    path = registry.private_keys.online / NAME
    if path.exists():
        return path.read_bytes()
    with locked(path):
        if not path.exists():  # else another process was faster
            write_atomic(path, secrets.token_bytes(32), mode=0o600)
        return path.read_bytes()


def _digest(key: bytes) -> str:
    return hashlib.sha256(b"embhub logins key\0" + key).hexdigest()
