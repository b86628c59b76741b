"""Checkpoints (C2SP tlog-checkpoint) and their cosignatures (C2SP tlog-cosignature): how large a log is, and its root.

A log signs its checkpoint: by Ed25519, and by ML-DSA-44 beside it where it has such a key. A witness adds a
cosignature: it saw no other tree of this log, and when.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass

from embhub.log import merkle, notes
from embhub.log.errors import BadCosignatureError, WrongLogError, malformed
from embhub.log.notes import Note, NoteSigner, SignatureLine, VerifierKey

LARGEST = 2**63 - 1
_SUBTREE = b"subtree/v1\n\0"
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True)
class Checkpoint:
    """What a log says of itself: its origin, how many entries it has, and the root over them."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode('ascii')}\n"


@dataclass(frozen=True)
class SignedCheckpoint:
    """A checkpoint that its log's key signed, checked; and the note that it stands in, with every signature."""

    checkpoint: Checkpoint
    note: Note

    @property
    def size(self) -> int:
        return self.checkpoint.size

    @property
    def root(self) -> bytes:
        return self.checkpoint.root

    def to_bytes(self) -> bytes:
        """The note as it was read."""
        return self.note.to_bytes()


@dataclass(frozen=True)
class Cosignature:
    """A witness's word on a checkpoint, checked: at this time (seconds since 1970) it saw no larger or other tree."""

    witness: VerifierKey
    time: int


def sign(checkpoint: Checkpoint, *, by: NoteSigner, also: NoteSigner | None = None) -> SignedCheckpoint:
    """A checkpoint signed by its log; `also` is its ML-DSA-44 key, which makes no statement on the time."""
    line = SignatureLine(by.public.name, by.public.key_id, by.sign(checkpoint.text.encode()))
    second = () if also is None else (cosign(checkpoint, by=also, time=0),)
    return SignedCheckpoint(checkpoint, Note(checkpoint.text, (line, *second)))


def parse(note: Note) -> Checkpoint:
    """What a note says, as a checkpoint. Nothing is verified.

    Raises:
        MalformedLogError: it is none. Extension lines are refused: nobody could audit them.
    """
    lines = note.text[:-1].split("\n")
    if len(lines) != 3 or not lines[0]:
        raise malformed("checkpoint", "it has not three lines")
    root = notes.decode(lines[2], what="checkpoint")
    if len(root) != merkle.HASH:
        raise malformed("checkpoint", "its root is not a SHA-256")
    checkpoint = Checkpoint(lines[0], number(lines[1], what="checkpoint"), root)
    if checkpoint.size == 0 and root != merkle.EMPTY:
        raise malformed("checkpoint", "an empty log has another root")
    return checkpoint


def open_signed(data: bytes | Note, *, log: VerifierKey) -> SignedCheckpoint:
    """Read a checkpoint and check that its log signed it.

    Args:
        log: The log's key, from a keyring or a policy, never from what is read. Its name is the log's origin.

    Raises:
        MalformedLogError: not a checkpoint in its canonical form.
        WrongLogError: another log's, or not signed by this key.
    """
    note = notes.parse(data) if isinstance(data, bytes) else data
    checkpoint = parse(note)
    if checkpoint.origin != log.name:
        raise WrongLogError(
            f"this is a checkpoint of the log {ascii(checkpoint.origin)[1:-1][:80]}, expected {log.name}",
            "the address serves another log: ask the registry's operator",
        )
    lines = note.by(log)
    if not lines or log.kind != notes.ED25519:
        raise WrongLogError(
            f"the checkpoint is not signed by the log's key {log.name}+{log.key_id.hex()}",
            "`embhub trust refresh` fetches the newest keyring; if it stays so, ask the registry's operator",
        )
    if not all(log.signed(note.text.encode(), line.signature) for line in lines):
        raise WrongLogError(
            f"the signature of the log {log.name} on its checkpoint is forged or damaged",
            "somebody else wrote this checkpoint: inform the registry's operator by telephone",
        )
    return SignedCheckpoint(checkpoint, note)


def is_signed_by_mldsa(signed: SignedCheckpoint, key: VerifierKey) -> bool | None:
    """Whether the log's ML-DSA-44 key signed too; None where that cannot be checked on this machine.

    Raises:
        WrongLogError: a signature in the name of this key is not its own.
    """
    lines = signed.note.by(key)
    if not key.can_be_checked:
        return None
    for line in lines:
        time = int.from_bytes(line.signature[:8], "big")
        if not key.signed(_cosigned(signed.checkpoint, key, time), line.signature[8:]):
            raise WrongLogError(
                f"the ML-DSA-44 signature of the log {key.name} on its checkpoint is forged or damaged",
                "somebody else wrote this checkpoint: inform the registry's operator by telephone",
            )
    return bool(lines)


def cosign(checkpoint: Checkpoint, *, by: NoteSigner, time: int) -> SignatureLine:
    """The line that a witness adds."""
    signature = by.sign(_cosigned(checkpoint, by.public, time))
    return SignatureLine(by.public.name, by.public.key_id, time.to_bytes(8, "big") + signature)


def check_cosignatures(note: Note, witnesses: Iterable[VerifierKey]) -> list[Cosignature]:
    """The cosignatures of these witnesses on a checkpoint; those of others are ignored. Of each the newest.

    Witnesses whose kind of key cannot be checked on this machine are ignored, too.

    Raises:
        BadCosignatureError: one names a witness that did not make it over this very checkpoint.
    """
    found = []
    for witness in witnesses:
        times = [_check_time(note, witness, line) for line in note.by(witness) if witness.can_be_checked]
        if times:
            found.append(Cosignature(witness, max(times)))
    return found


def time_of(line: SignatureLine) -> int:
    """When a cosignature says that it was made, in seconds since 1970. Nothing is verified."""
    return int.from_bytes(line.signature[:8], "big")


def _check_time(note: Note, witness: VerifierKey, line: SignatureLine) -> int:
    time, signature = time_of(line), line.signature
    good = witness.kind in notes.WITNESSES and time <= LARGEST
    if not good or not witness.signed(_cosigned(parse(note), witness, time), signature[8:]):
        raise BadCosignatureError(
            f"a cosignature in the name of the witness {witness.name} is not its own, or is of another checkpoint",
            "somebody added it: fetch the checkpoint again, and inform the witness",
        )
    return time


def _cosigned(checkpoint: Checkpoint, key: VerifierKey, time: int) -> bytes:
    """What is signed: Ed25519 signs text, ML-DSA-44 a structure that names the cosigner."""
    if key.kind != notes.MLDSA44:
        return f"cosignature/v1\ntime {time}\n{checkpoint.text}".encode()
    cosigner, origin = _short(key.name), _short(checkpoint.origin)
    start, end = (0).to_bytes(8, "big"), checkpoint.size.to_bytes(8, "big")
    return _SUBTREE + cosigner + time.to_bytes(8, "big") + origin + start + end + checkpoint.root


def _short(name: str) -> bytes:
    """A name after its length in one byte. Raises MalformedLogError."""
    data = name.encode()
    if len(data) > 255:
        raise malformed("checkpoint", "a name has more than 255 bytes")
    return bytes([len(data)]) + data


def number(text: str, *, what: str) -> int:
    """A number in ASCII digits without zeros before it. Raises MalformedLogError."""
    if not _NUMBER.fullmatch(text) or int(text) > LARGEST:
        raise malformed(what, "a number is not in its canonical form")
    return int(text)
