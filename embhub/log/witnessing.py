"""What a log and its witness say to one another: C2SP tlog-witness, the call `add-checkpoint`. Pure."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from embhub.log import checkpoints, merkle, notes, proofs
from embhub.log.errors import malformed
from embhub.log.notes import Note, SignatureLine

PATH = "/add-checkpoint"
TREE_SIZE = "text/x.tlog.size"
MAX_BYTES = notes.MAX_BYTES
_WHAT = "request to a witness"


@dataclass(frozen=True)
class Request:
    """The size that the log believes the witness knows, a proof from there, and the checkpoint; nothing is trusted."""

    old: int
    proof: tuple[bytes, ...]
    note: Note

    def to_bytes(self) -> bytes:
        """The body of the request."""
        lines = [f"old {self.old}", *(base64.b64encode(one).decode("ascii") for one in self.proof), ""]
        return "\n".join(lines).encode() + b"\n" + self.note.to_bytes()


def make(old: int, proof: Sequence[bytes], note: Note) -> Request:
    """A request from its parts."""
    return Request(old, tuple(proof), note)


def parse(data: bytes) -> Request:
    """Read a request.

    Raises:
        MalformedLogError: not one in its canonical form.
    """
    head, gap, rest = data.partition(b"\n\n")
    lines = head.decode("ascii", "replace").split("\n")
    if len(data) > MAX_BYTES or not gap or not lines[0].startswith("old "):
        raise malformed(_WHAT, "it does not begin with the old size, or is too long")
    if len(lines) - 1 > merkle.LONGEST_PROOF:
        raise malformed(_WHAT, f"it has more than {merkle.LONGEST_PROOF} hashes")
    old = checkpoints.number(lines[0].removeprefix("old "), what=_WHAT)
    return Request(old, tuple(proofs.read_hash(line, what=_WHAT) for line in lines[1:]), notes.parse(rest))


def parse_answer(data: bytes) -> list[SignatureLine]:
    """The cosignatures that a witness returned, or that one sends by itself. Nothing is verified.

    Raises:
        MalformedLogError: not signature lines.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise malformed("answer of a witness", "it is not UTF-8") from error
    lines = text.removesuffix("\n").split("\n")
    if len(data) > MAX_BYTES or not text.endswith("\n") or len(lines) > notes.MAX_SIGNATURES:
        raise malformed("answer of a witness", "it is not signature lines, or has too many")
    return [notes.parse_line(line) for line in lines]


def place_of(origin: str) -> str:
    """Where a witness serves the checkpoint that it cosigned last, below its address."""
    return f"{hashlib.sha256(origin.encode()).hexdigest()}/checkpoint"
