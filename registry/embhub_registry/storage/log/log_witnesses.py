"""Cosignatures of the log's checkpoints: asked for at witnesses (C2SP tlog-witness), or sent by them."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import urlsplit

from embhub.durable import locked
from embhub.errors import EmbhubError, RegistryError
from embhub.log import checkpoints, merkle, notes, witnessing
from embhub.log.notes import Note
from embhub.log.tiles import TileReader
from embhub_registry.database.clock import now, stamp
from embhub_registry.database.logs import log_rows
from embhub_registry.database.logs.log_rows import SignedSize, Witness
from embhub_registry.storage import outgoing
from embhub_registry.storage.folder import Registry
from embhub_registry.storage.log import registry_log
from embhub_registry.storage.log.log_files import CHECKPOINT
from embhub_registry.storage.logs import log
from embhub_registry.storage.outgoing import Answer, SendingError

BEHIND_EVERY, AGAIN_EVERY = timedelta(seconds=10), timedelta(hours=1)


def take(registry: Registry, note: Note) -> int:
    """Keep the cosignatures of accepted witnesses on a checkpoint that was signed here; how many.

    Raises:
        LogError: not a checkpoint, or a cosignature in the name of such a witness is not its own.
    """
    size = checkpoints.parse(note).size
    files = registry_log.files_of(registry)
    registry_log.follow(registry)
    with locked(files.folder / CHECKPOINT):
        db = registry.database.connection()
        held = log_rows.checkpoint(db, size)
        known = [notes.parse_key(row.vkey) for row in log_rows.witnesses(db)]
        if held is None or notes.parse(held.note).text != note.text:
            return 0
        found = checkpoints.check_cosignatures(note, known)
        if not found:
            return 0
        # Cosignatures are public, and anybody may send one again: that changes nothing, not when a witness is asked.
        if _merged(notes.parse(held.note), note, {one.witness for one in found}, known).to_bytes() == held.note:
            return len(found)
        with registry.database.writing() as writing:  # another server may take one of another witness
            held = log_rows.checkpoint(writing, size)
            if held is None:
                return 0
            whole = _merged(notes.parse(held.note), note, {one.witness for one in found}, known)
            count = len(checkpoints.check_cosignatures(whole, known))
            log_rows.set_cosigned(writing, size, whole.to_bytes(), cosigners=count, now=stamp())
            for one in found:
                log_rows.note_seen(writing, str(one.witness), size)
        newest = log_rows.newest(db)
        if newest is not None and newest.size == size:
            files.set_checkpoint(newest.note)
    return len(found)


def ask_all(registry: Registry) -> None:
    """Ask each witness that has an address, where it lags behind or its cosignature is an hour old."""
    db = registry.database.connection()
    newest = log_rows.newest(db)
    for witness in log_rows.witnesses(db):
        if newest is None or not witness.url or not _is_due(witness, newest):
            continue
        with registry.database.writing() as writing:
            log_rows.note_asked(writing, witness.vkey, now=stamp())
        try:
            ask(registry, witness, newest)
        except EmbhubError as error:
            log("error", "witness did not cosign", url=witness.url, reason=str(error))


def ask(registry: Registry, witness: Witness, newest: SignedSize) -> int:
    """Ask one witness; how many cosignatures came.

    Raises:
        RegistryError: it did not answer, or refused. LogError: its answer is none.
    """
    note = notes.parse(newest.note)
    answer = _send(registry, witness, newest, old=min(witness.seen, newest.size))
    if answer.status == 409 and answer.content_type == witnessing.TREE_SIZE:
        said = answer.body[:30].decode("ascii", "replace").strip()
        answer = _send(registry, witness, newest, old=checkpoints.number(said, what="size"))
    if answer.status != 200:
        raise RegistryError(f"the witness answered with status {answer.status}", "ask who operates it")
    return take(registry, Note(note.text, note.signatures).with_signatures(witnessing.parse_answer(answer.body)))


def _send(registry: Registry, witness: Witness, newest: SignedSize, *, old: int) -> Answer:
    if old > newest.size:
        raise RegistryError(f"the witness knows {old} entries of this log, which has {newest.size}", "see `log show`")
    reader = TileReader(newest.size, registry_log.files_of(registry).read)
    proof = merkle.consistency_proof(old, newest.size, reader.node)
    body = witnessing.make(old, proof, notes.parse(newest.note)).to_bytes()
    url, host = f"{witness.url}{witnessing.PATH}", urlsplit(witness.url).hostname or ""
    try:
        return outgoing.ask(
            "witness", url, method="POST", body=body, headers={"Content-Type": "application/octet-stream"},
            allowed=(host,), most_bytes=witnessing.MAX_BYTES,
        )  # fmt: skip
    except SendingError as error:
        raise RegistryError(f"the witness was not reached: {error.reason}", "try later") from error


def _is_due(witness: Witness, newest: SignedSize) -> bool:
    pause = BEHIND_EVERY if witness.seen < newest.size else AGAIN_EVERY
    return witness.asked is None or witness.asked <= stamp(now() - pause)


def _merged(held: Note, more: Note, fresh: set[notes.VerifierKey], known: list[notes.VerifierKey]) -> Note:
    """What is held with the new cosignatures, all of them checked; of each witness the newest alone.

    Anybody may send a public cosignature again, so an older one never takes the place of a newer one.
    """
    kept = [line for line in held.signatures if not any(line.is_by(key) for key in fresh)]
    new = [max((*held.by(key), *more.by(key)), key=checkpoints.time_of) for key in known if key in fresh]
    return Note(held.text, (*kept, *new))
