"""The newest checkpoint that this site saw of each log, in `state/logs.json`: what a later one must continue.

One process at a time compares and writes. What shows that a log forked is kept in `state/log-forks`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from embhub.durable import locked, write_atomic
from embhub.errors import ConfigError
from embhub.log import checkpoints, merkle
from embhub.log.checkpoints import SignedCheckpoint
from embhub.log.errors import ForkedLogError, LogError
from embhub.log.notes import VerifierKey
from embhub.site import config

MAX_BYTES = 8_000_000
READER, MONITOR, WITNESS = "logs", "watched-logs", "cosigned-logs"
Prove = Callable[[int, int], Sequence[bytes]]
"""`prove(first, second)`: a proof of consistency between the trees of these sizes, unchecked."""


def recall(log: VerifierKey, *, book: str = READER) -> SignedCheckpoint | None:
    """The checkpoint of this log that is remembered, its signature checked again; None for a log not seen before.

    `book` is the memory of a reader (`pull`, `verify`), of a monitor, or of a witness: each compares with its own.

    Raises:
        ConfigError: the memory cannot be read.
    """
    text = _read(book).get(str(log))
    if text is None:
        return None
    try:
        return checkpoints.open_signed(text.encode(), log=log)
    except LogError as error:
        raise _unreadable(book) from error


def advance(
    log: VerifierKey, found: SignedCheckpoint, *, prove: Prove | None, book: str = READER
) -> SignedCheckpoint | None:
    """Compare a checkpoint with the one remembered, and remember the larger. Returns what was remembered before.

    Args:
        prove: where a proof comes from. None where nobody can be asked: then only a tree of the same size is
            compared, and nothing new is remembered unless nothing was.

    Raises:
        ForkedLogError: the two are not of one append-only log. Both are kept as evidence.
        ConfigError: the memory cannot be read or written. What `prove` raises.
    """
    with locked(_path(book)):
        before = recall(log, book=book)
        if before is not None and (prove is not None or before.size == found.size):
            first, second = sorted((before, found), key=lambda one: one.size)
            proof = prove(first.size, second.size) if prove is not None and first.size != second.size else ()
            try:
                merkle.check_consistency(first.size, second.size, first.root, second.root, proof)
            except ForkedLogError as error:
                raise _forked(error, log, before, found) from error
        newer = before is None or (prove is not None and found.size >= before.size)
        if newer and (before is None or found.to_bytes() != before.to_bytes()):
            memory = _read(book) | {str(log): found.to_bytes().decode()}
            write_atomic(_path(book), json.dumps(memory, indent=1, sort_keys=True).encode(), mode=0o600)
    return before


def all_seen() -> dict[str, str]:
    """Every log's verifier key with the checkpoint that is remembered. Raises ConfigError."""
    return _read(READER)


def _forked(error: ForkedLogError, log: VerifierKey, before: SignedCheckpoint, found: SignedCheckpoint) -> LogError:
    text = before.to_bytes() + b"\n" + found.to_bytes()
    path = config.paths().state / "log-forks" / f"{hashlib.sha256(text).hexdigest()[:16]}.txt"
    write_atomic(path, text, mode=0o600)
    return ForkedLogError(
        error.message,
        f"both checkpoints, signed by {log.name}, are kept in {path}: send them to other members of the registry, and"
        " ask its operator by telephone",
    )


def _path(book: str) -> Path:
    return config.paths().state / f"{book}.json"


def _read(book: str) -> dict[str, str]:
    try:
        data = _path(book).read_bytes()
        memory = json.loads(data) if len(data) <= MAX_BYTES else None
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise _unreadable(book) from error
    if not isinstance(memory, dict) or not all(isinstance(text, str) for text in memory.values()):
        raise _unreadable(book)
    return memory


def _unreadable(book: str) -> ConfigError:
    return ConfigError(
        f"the checkpoints that this site remembers cannot be read: {_path(book)}",
        "restore it from a backup; or remove it, knowing that a log that was rewritten would not be noticed",
    )
