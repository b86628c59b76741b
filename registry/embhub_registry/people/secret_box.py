"""Encryption of what the registry must read back and a stolen database must not give: TOTP secrets.

The key is a file beside the online keys, in no backup: after a restore elsewhere, people set up their logins again.
"""

from __future__ import annotations

import os
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from embhub.durable import locked, write_atomic
from embhub_registry.storage.folder import Registry

NAME = "logins.key"


class SealedElsewhereError(Exception):
    """It was not encrypted with this machine's key, or for another account."""


def seal(registry: Registry, plain: bytes, *, about: str) -> bytes:
    """`plain` encrypted (AES-256-GCM), to be opened for the same `about` alone."""
    nonce = os.urandom(12)
    return nonce + AESGCM(_key(registry)).encrypt(nonce, plain, about.encode())


def open_sealed(registry: Registry, sealed: bytes, *, about: str) -> bytes:
    """What was sealed.

    Raises:
        SealedElsewhereError: the key or `about` is another one, or a byte was changed.
    """
    try:
        return AESGCM(_key(registry)).decrypt(sealed[:12], sealed[12:], about.encode())
    except (InvalidTag, ValueError) as error:
        raise SealedElsewhereError from error


def _key(registry: Registry) -> bytes:
    path = registry.private_keys.online / NAME
    if path.exists():
        return path.read_bytes()
    with locked(path):
        if not path.exists():  # else another process was faster
            write_atomic(path, secrets.token_bytes(32), mode=0o600)
        return path.read_bytes()
