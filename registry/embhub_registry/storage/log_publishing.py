"""Signing the log: what the database holds, as tiles and a checkpoint. One process at a time does it.

The order is what keeps a crash from forking the log: tiles first, then the note beside the key of what is about to be
signed, then the signed checkpoint in the database, then the file that is served. A tree that does not continue what
the key signed before is refused: a backup that was restored, say.
"""

from __future__ import annotations

import json
from pathlib import Path

from embhub.durable import locked, write_atomic
from embhub.errors import ConfigError
from embhub.log import checkpoints, merkle, notes
from embhub.log.building import TreeBuilder
from embhub.log.checkpoints import Checkpoint
from embhub.log.notes import NoteSigner
from embhub.log.tiles import TileReader
from embhub_registry.database import Database, log_rows
from embhub_registry.database.log_rows import SignedSize
from embhub_registry.storage.log_files import CHECKPOINT, LogFiles


def publish(database: Database, files: LogFiles, *, key: NoteSigner, second: NoteSigner | None, state: Path) -> bool:
    """Sign the entries that were added since the last checkpoint; whether there were any.

    Args:
        second: the log's ML-DSA-44 key.
        state: the file beside the key that says what it signed last.

    Raises:
        ConfigError: a folder cannot be written, or the log is not the one that this key signed before.
    """
    files.folder.mkdir(mode=0o755, exist_ok=True)
    with locked(files.folder / CHECKPOINT):
        db = database.connection()
        size, before = log_rows.size(db), log_rows.newest(db)
        if before is not None and before.size == size and _is_signed_by(before, key, second):
            if files.checkpoint() != before.note:  # the process before this one ended in between
                files.set_checkpoint(before.note)
            return False
        builder = _builder(files, before)
        files.grow(database.connection(), builder, size)
        checkpoint = Checkpoint(key.public.name, size, builder.root())
        if before is not None and size == before.size and checkpoint.root != before.root:
            raise _another("its entries were changed")
        _continue_state(state, checkpoint, files, key=key, before=before)
        note = checkpoints.sign(checkpoint, by=key, also=second).to_bytes()
        with database.writing() as writing:
            log_rows.add_checkpoint(writing, SignedSize(size, checkpoint.root, note))
        files.set_checkpoint(note)
    return True


def _builder(files: LogFiles, before: SignedSize | None) -> TreeBuilder:
    """The tree as it was signed last; from nothing where its files are gone."""
    found = files.resume(before.size, before.root) if before is not None else None
    return found or TreeBuilder()


def _continue_state(
    state: Path, checkpoint: Checkpoint, files: LogFiles, *, key: NoteSigner, before: SignedSize | None
) -> None:
    """Note what is about to be signed, if it continues what was signed before by this key."""
    reader = TileReader(checkpoint.size, files.read)
    signed = [(before.size, before.root)] if before is not None else []
    if (noted := _read(state, key)) is not None:
        signed.append(noted)
    for size, root in signed:
        if size > checkpoint.size:
            raise _another(f"its key signed {size} entries, and {checkpoint.size} are here")
        if merkle.root_at(size, reader.node) != root:
            raise _another(f"its first {size} entries are not those that its key signed")
    said = {"key": str(key.public), "size": checkpoint.size, "root": checkpoint.root.hex()}
    write_atomic(state, json.dumps(said).encode(), mode=0o600)


def _read(state: Path, key: NoteSigner) -> tuple[int, bytes] | None:
    try:
        said = json.loads(state.read_bytes())
        size, root = int(said["size"]), bytes.fromhex(said["root"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"{state} cannot be read", "it says what the log's key signed last: restore it") from error
    return (size, root) if said.get("key") == str(key.public) else None


def _is_signed_by(signed: SignedSize, *keys: NoteSigner | None) -> bool:
    note = notes.parse(signed.note)
    return all(note.by(key.public) for key in keys if key is not None)


def _another(reason: str) -> ConfigError:
    return ConfigError(
        f"the log was not signed: {reason}",
        "readers would call it forked; see `The transparency log` in docs/how-to/back-up-a-registry.md",
    )


def rewrite(database: Database, files: LogFiles, signed: SignedSize) -> None:
    """Every file of the log as it was signed last, from the database.

    Raises:
        ConfigError: the folder cannot be written, or the database holds another tree than was signed.
    """
    files.folder.mkdir(mode=0o755, exist_ok=True)
    with locked(files.folder / CHECKPOINT):
        builder = TreeBuilder()
        files.grow(database.connection(), builder, signed.size)
        if builder.root() != signed.root:
            raise _another("its entries were changed")
        files.set_checkpoint(signed.note)
