"""What this site signed: the SHA-256 of each message, in `state/signed.txt`, so that a stranger's signature in its name
is told from its own. A line each, appended; nothing else is noted.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from embhub.durable import locked
from embhub.errors import ConfigError
from embhub.site import config
from embhub.trust import p256

_DIGEST = re.compile(r"[0-9a-f]{64}")


class Key(Protocol):
    """A key of this site."""

    @property
    def fingerprint(self) -> str: ...

    @property
    def public(self) -> p256.PublicKey: ...

    @property
    def public_pem(self) -> str: ...

    def sign(self, message: bytes) -> bytes: ...


@dataclass(frozen=True)
class NotedKey:
    """A key whose signatures are noted, before they leave."""

    key: Key

    @property
    def fingerprint(self) -> str:
        return self.key.fingerprint

    @property
    def public(self) -> p256.PublicKey:
        return self.key.public

    @property
    def public_pem(self) -> str:
        return self.key.public_pem

    def sign(self, message: bytes) -> bytes:
        """As the key does. Raises ConfigError where the record cannot be written."""
        signature = self.key.sign(message)
        note([hashlib.sha256(message).hexdigest()])
        return signature


def note(digests: Iterable[str]) -> None:
    """Add to the record.

    Raises:
        ConfigError: it cannot be written.
    """
    path = _path()
    try:
        with locked(path):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as stream:
                stream.writelines(f"{digest}\n" for digest in digests)
                stream.flush()
                os.fsync(stream.fileno())
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}", "free space, or make it writable") from error


def known() -> frozenset[str]:
    """Every digest in the record.

    Raises:
        ConfigError: it cannot be read, or holds something else.
    """
    path = _path()
    try:
        lines = path.read_text(encoding="ascii").split()
    except FileNotFoundError:
        return frozenset()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}", "restore it from a backup") from error
    if not all(_DIGEST.fullmatch(line) for line in lines):
        raise ConfigError(f"{path} holds lines that are no SHA-256", "restore it from a backup")
    return frozenset(lines)


def _path() -> Path:
    return config.paths().state / "signed.txt"
