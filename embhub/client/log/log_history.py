"""Checkpoints that this site compared with the newest one of their log, in `state/log-history.json`.

`log_memory` keeps the newest alone. A folder's proof leads to an earlier one: by its size it is found here, without a
network.
"""

from __future__ import annotations

from embhub.durable import locked
from embhub.log import checkpoints
from embhub.log.checkpoints import SignedCheckpoint
from embhub.log.errors import LogError
from embhub.log.notes import Note, VerifierKey
from embhub.site.memory.books import Book

MOST = 500  # of each log
BOOK: Book[dict[str, dict[str, str]]] = Book(
    "log-history", dict[str, dict[str, str]], 16_000_000, "the checkpoints that this site compared before",
    "remove it, and verify the releases once with a network",
)  # fmt: skip


def remember(log: VerifierKey, *compared: SignedCheckpoint) -> None:
    """Keep checkpoints that were shown to be of one history, without cosignatures; the oldest are forgotten.

    Raises:
        ConfigError: the file cannot be read or written.
    """
    known = BOOK.read().get(str(log), {})
    if all(str(one.size) in known for one in compared):
        return
    with locked(BOOK.path):
        memory = BOOK.read()
        rows = memory.get(str(log), {})
        for one in compared:
            rows.setdefault(str(one.size), Note(one.note.text, tuple(one.note.by(log)[:1])).to_bytes().decode())
        memory[str(log)] = dict(list(rows.items())[-MOST:])
        BOOK.write(memory)


def find(log: VerifierKey, size: int) -> SignedCheckpoint | None:
    """The checkpoint of this size that was compared before, its signature checked again; None where there is none.

    Raises:
        ConfigError: the file cannot be read.
    """
    text = BOOK.read().get(str(log), {}).get(str(size))
    if text is None:
        return None
    try:
        found = checkpoints.open_signed(text.encode(), log=log)
    except LogError as error:
        raise BOOK.unreadable() from error
    if found.size != size:
        raise BOOK.unreadable()
    return found
