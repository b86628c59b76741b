"""What this site read of a large log, in `state/log-entries/`: of each entry what was signed, and its leaf hash.

Beside it, how far the log was looked through for a keyring newer than the one in use. A log that is too long for one
reading is read over several calls. The files can be removed: they are read again.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from embhub.durable import write_atomic
from embhub.log.merkle import HASH
from embhub.log.notes import VerifierKey
from embhub.site import config

ROW = 2 * HASH
MOST = 1_000_000  # entries of each log, in 64 MB
_MAGIC, _LOOKED = b"embhub-entries/1", b"embhub-looked-through/1"


@dataclass(frozen=True)
class ReadEntries:
    """The first entries of a log: the root over them, and a row of `ROW` bytes for each."""

    root: bytes
    rows: bytes

    @property
    def size(self) -> int:
        """How many entries there are."""
        return len(self.rows) // ROW


def load(log: VerifierKey) -> ReadEntries | None:
    """What was read of the log of this key; None where nothing was, or where the file is damaged."""
    try:
        with _path(log).open("rb") as stream:
            data = stream.read(len(_MAGIC) + 2 * HASH + MOST * ROW + 1)
    except OSError:
        return None
    start = len(_MAGIC)
    root, digest, rows = data[start : start + HASH], data[start + HASH : start + ROW], data[start + ROW :]
    if not data.startswith(_MAGIC) or len(rows) % ROW or len(rows) > MOST * ROW:
        return None
    return ReadEntries(root, rows) if hashlib.sha256(root + rows).digest() == digest else None


def save(log: VerifierKey, read: ReadEntries) -> None:
    """Remember it. Raises ConfigError: it cannot be written."""
    digest = hashlib.sha256(read.root + read.rows).digest()
    write_atomic(_path(log), b"".join((_MAGIC, read.root, digest, read.rows)), mode=0o600)


@dataclass(frozen=True)
class LookedThrough:
    """The first `size` entries of a log, and the root over them."""

    size: int
    root: bytes


def load_looked_through(log: VerifierKey, purpose: str) -> LookedThrough | None:
    """How far the log of this key was looked through for `purpose`; None where it was not, or the file is damaged."""
    try:
        with _path(log, ".looked").open("rb") as stream:
            data = stream.read(1_000)
    except OSError:
        return None
    start = _LOOKED + hashlib.sha256(purpose.encode()).digest()
    rest = data.removeprefix(start)
    if not data.startswith(start) or len(rest) != 8 + HASH:
        return None
    return LookedThrough(int.from_bytes(rest[:8], "big"), rest[8:])


def save_looked_through(log: VerifierKey, purpose: str, looked: LookedThrough) -> None:
    """Remember it for this purpose alone. Raises ConfigError: it cannot be written."""
    start = _LOOKED + hashlib.sha256(purpose.encode()).digest()
    write_atomic(_path(log, ".looked"), start + looked.size.to_bytes(8, "big") + looked.root, mode=0o600)


def _path(log: VerifierKey, suffix: str = ".bin") -> Path:
    return config.paths().state / "log-entries" / f"{hashlib.sha256(str(log).encode()).hexdigest()[:32]}{suffix}"
