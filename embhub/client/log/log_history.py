"""Checkpoints that this site compared with the newest one of their log, in `state/log-history.json`.

`log_memory` keeps the newest alone. A folder's proof leads to an earlier one: by its size it is found here, without a
network.
"""

from __future__ import annotations

import json
from pathlib import Path

from embhub.durable import locked, write_atomic
from embhub.errors import ConfigError
from embhub.log import checkpoints
from embhub.log.checkpoints import SignedCheckpoint
from embhub.log.errors import LogError
from embhub.log.notes import Note, VerifierKey
from embhub.site import config

MAX_BYTES = 16_000_000
MOST = 500  # of each log


def remember(log: VerifierKey, *compared: SignedCheckpoint) -> None:
    """Keep checkpoints that were shown to be of one history, without cosignatures; the oldest are forgotten.

    Raises:
        ConfigError: the file cannot be read or written.
    """
    known = _read().get(str(log), {})
    if all(str(one.size) in known for one in compared):
        return
    with locked(_path()):
        memory = _read()
        rows = memory.get(str(log), {})
        for one in compared:
            rows.setdefault(str(one.size), Note(one.note.text, tuple(one.note.by(log)[:1])).to_bytes().decode())
        memory[str(log)] = dict(list(rows.items())[-MOST:])
        write_atomic(_path(), json.dumps(memory, indent=1).encode(), mode=0o600)


def find(log: VerifierKey, size: int) -> SignedCheckpoint | None:
    """The checkpoint of this size that was compared before, its signature checked again; None where there is none.

    Raises:
        ConfigError: the file cannot be read.
    """
    text = _read().get(str(log), {}).get(str(size))
    if text is None:
        return None
    try:
        found = checkpoints.open_signed(text.encode(), log=log)
    except LogError as error:
        raise _unreadable() from error
    if found.size != size:
        raise _unreadable()
    return found


def _path() -> Path:
    return config.paths().state / "log-history.json"


def _read() -> dict[str, dict[str, str]]:
    try:
        data = _path().read_bytes()
        memory = json.loads(data) if len(data) <= MAX_BYTES else None
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise _unreadable() from error
    if not isinstance(memory, dict) or not all(
        isinstance(rows, dict) and all(isinstance(text, str) for text in rows.values()) for rows in memory.values()
    ):
        raise _unreadable()
    return memory


def _unreadable() -> ConfigError:
    return ConfigError(
        f"the checkpoints that this site compared before cannot be read: {_path()}",
        "remove it, and verify the releases once with a network",
    )
