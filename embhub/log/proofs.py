"""Proofs that something is in a log: `tlog-proof` files (C2SP), which stand beside a bundle and need no network."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from embhub.log import checkpoints, merkle, notes
from embhub.log.checkpoints import SignedCheckpoint
from embhub.log.errors import malformed
from embhub.log.notes import Note, VerifierKey

HEADER = "c2sp.org/tlog-proof@v1"
SUFFIX = ".tlog-proof"
MAX_BYTES = 64_000
_WHAT = "log proof"


@dataclass(frozen=True)
class LogProof:
    """An entry's index, the hashes from its leaf up to the root, and the checkpoint. Nothing is trusted yet.

    `extra` is kept and never used: no signature covers it.
    """

    index: int
    path: tuple[bytes, ...]
    note: Note
    extra: bytes | None = None

    def to_bytes(self) -> bytes:
        """The file."""
        lines = [HEADER]
        if self.extra is not None:
            lines.append(f"extra {_encode(self.extra)}")
        lines += [f"index {self.index}", *map(_encode, self.path), ""]
        return "\n".join(lines).encode() + b"\n" + self.note.to_bytes()

    def open(self, leaf: bytes, *, log: VerifierKey) -> SignedCheckpoint:
        """Check that the entry `leaf` is in the log of this key. Returns the checkpoint that shows it.

        Raises:
            WrongLogError: the checkpoint is not this log's.
            NotIncludedError: the proof does not lead to it.
        """
        opened = checkpoints.open_signed(self.note, log=log)
        merkle.check_inclusion(merkle.leaf_hash(leaf), self.index, opened.size, opened.root, self.path)
        return opened


def make(index: int, path: Sequence[bytes], note: Note) -> LogProof:
    """A proof from its parts."""
    return LogProof(index, tuple(path), note)


def parse(data: bytes) -> LogProof:
    """Read a proof.

    Raises:
        MalformedLogError: not one in its canonical form.
    """
    if len(data) > MAX_BYTES:
        raise malformed(_WHAT, f"it has more than {MAX_BYTES:,} bytes")
    head, gap, rest = data.partition(b"\n\n")
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise malformed(_WHAT, "it is not ASCII above its checkpoint") from error
    if not gap or lines[0] != HEADER:
        raise malformed(_WHAT, f"it does not begin with {HEADER}")
    place, extra = 1, None
    if len(lines) > 1 and lines[1].startswith("extra "):
        place, extra = 2, notes.decode(lines[1].removeprefix("extra "), what=_WHAT)
    if len(lines) <= place or not lines[place].startswith("index "):
        raise malformed(_WHAT, "it names no index")
    index = checkpoints.number(lines[place].removeprefix("index "), what=_WHAT)
    hashes = lines[place + 1 :]
    if len(hashes) > merkle.LONGEST_PROOF:
        raise malformed(_WHAT, f"it has more than {merkle.LONGEST_PROOF} hashes")
    return LogProof(index, tuple(read_hash(line, what=_WHAT) for line in hashes), notes.parse(rest), extra)


def read_hash(line: str, *, what: str) -> bytes:
    """A SHA-256 in base64. Raises MalformedLogError."""
    found = notes.decode(line, what=what)
    if len(found) != merkle.HASH:
        raise malformed(what, "a hash is not a SHA-256")
    return found


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
