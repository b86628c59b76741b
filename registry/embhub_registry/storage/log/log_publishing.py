"""Signing the log: what the database holds, as tiles and a checkpoint. One process at a time does it.

Where several servers share a registry, the one that signs has a term (`Leadership`). A checkpoint is stored only in a
transaction that finds the term to be the newest, and nobody sees a signature before it is stored.

The order is what keeps a crash from forking the log: tiles first, then the note beside the key of what is about to be
signed, then the signed checkpoint in the database, then the file that is served. A tree that does not continue what
the key signed before is refused: a backup that was restored, say.
"""

from __future__ import annotations

import json
from pathlib import Path

from embhub.durable import locked, write_atomic
from embhub.errors import ConfigError, RegistryError
from embhub.log import checkpoints, merkle, notes
from embhub.log.building import TreeBuilder
from embhub.log.checkpoints import Checkpoint
from embhub.log.notes import NoteSigner
from embhub.log.tiles import TileReader
from embhub_registry.database import Database
from embhub_registry.database.logs import log_rows
from embhub_registry.database.logs.log_rows import SignedSize
from embhub_registry.storage.log.log_files import CHECKPOINT, LogFiles


class TermOverError(RegistryError):
    """Another server signs the log by now; nothing was signed."""


class AnotherLogError(ConfigError):
    """What is here does not continue the log that was signed before; nothing was signed."""


def publish(
    database: Database, files: LogFiles, *, key: NoteSigner, second: NoteSigner | None, state: Path,
    term: int | None = None,
) -> bool:  # fmt: skip
    """Sign the entries that were added since the last checkpoint; whether there were any.

    Args:
        second: the log's ML-DSA-44 key.
        state: the file beside the key that says what it signed last.
        term: of the server that signs; None where there is one server at most.

    Raises:
        TermOverError: another server's term has begun.
        AnotherLogError: the log is not the one that this key signed before.
        ConfigError: a folder cannot be written, or an entry is damaged.
    """
    files.folder.mkdir(mode=0o755, exist_ok=True)
    with locked(files.folder / CHECKPOINT):
        db = database.connection()
        size, before = log_rows.size(db), log_rows.newest(db)
        if before is not None and before.size == size and _is_signed_by(before, key, second):
            if files.checkpoint() != before.note:  # the process before this one ended in between, or another signed
                _bring_up(database, files, before, key=key, state=state)
            return False
        builder = _builder(files, before)
        files.grow(database.connection(), builder, size)
        checkpoint = Checkpoint(key.public.name, size, builder.root())
        if before is not None and size == before.size and checkpoint.root != before.root:
            raise _another("its entries were changed")
        _continue_state(state, checkpoint, files, key=key, before=before)
        note = checkpoints.sign(checkpoint, by=key, also=second).to_bytes()
        with database.writing() as writing:
            if term is not None and log_rows.term(writing) != term:
                raise TermOverError("another server signs the log by now", "it signs what this one left")
            log_rows.add_checkpoint(writing, SignedSize(size, checkpoint.root, note))
        files.set_checkpoint(note)
    return True


def follow(database: Database, files: LogFiles, signed: SignedSize, *, key: NoteSigner | None, state: Path) -> None:
    """Write the files of a tree that another server signed, and note it beside this server's copy of the key.

    So whichever server signs next knows what was signed, also after the database was put back to an earlier day.

    Raises:
        AnotherLogError: the database holds another tree than was signed, or the tree does not continue what is noted.
        ConfigError: the folder cannot be written, or the note cannot be read.
    """
    if files.checkpoint() == signed.note:
        return
    files.folder.mkdir(mode=0o755, exist_ok=True)
    with locked(files.folder / CHECKPOINT):
        _bring_up(database, files, signed, key=key, state=state)


def _bring_up(database: Database, files: LogFiles, signed: SignedSize, *, key: NoteSigner | None, state: Path) -> None:
    """The tiles first: the checkpoint is served only when its tiles are here."""
    held = _held(files)
    if held is not None and held.size > signed.size:
        if held.size > log_rows.size(database.connection()):
            raise _another(f"{held.size} entries were signed, and fewer are here")
        return  # another process of this folder has gone on meanwhile
    builder = (files.resume(held.size, held.root) if held is not None else None) or TreeBuilder()
    files.grow(database.connection(), builder, signed.size)
    if builder.root() != signed.root:
        raise _another("its entries were changed")
    if key is not None:
        _note(database, files, signed, key=key, state=state)
    files.set_checkpoint(signed.note)


def _held(files: LogFiles) -> Checkpoint | None:
    note = files.checkpoint()
    return checkpoints.parse(notes.parse(note)) if note is not None else None


def _note(database: Database, files: LogFiles, signed: SignedSize, *, key: NoteSigner, state: Path) -> None:
    noted = _read(state, key)
    if noted is not None and noted[0] > signed.size:
        if noted[0] > log_rows.size(database.connection()):
            raise _another(f"its key signed {noted[0]} entries, and fewer are here")
        return  # this server was about to sign more when its term ended
    _continue_state(state, Checkpoint(key.public.name, signed.size, signed.root), files, key=key, before=None)


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


def _another(reason: str) -> AnotherLogError:
    return AnotherLogError(
        f"the log was not signed: {reason}",
        "readers would call it forked; see `The transparency log` in docs/how-to/back-up-a-registry.md",
    )


def rewrite(database: Database, files: LogFiles, signed: SignedSize) -> None:
    """Every file of the log as it was signed last, from the database.

    Raises:
        AnotherLogError: the database holds another tree than was signed.
        ConfigError: the folder cannot be written, or an entry is damaged in the database and in its bundle.
    """
    files.folder.mkdir(mode=0o755, exist_ok=True)
    with locked(files.folder / CHECKPOINT):
        builder = TreeBuilder()
        files.grow(database.connection(), builder, signed.size)
        if builder.root() != signed.root:
            raise _another("its entries were changed")
        files.set_checkpoint(signed.note)
