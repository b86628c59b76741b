"""Pairs of checkpoints that one log signed, in `state/`: forks that are shown, and pairs that nothing explains yet.

`log-forks` has pairs of different histories: either of one size, or with the proof that the larger tree begins
otherwise. `log-unexplained` has pairs that nobody proved or refuted so far. Each file holds both checkpoints with the
log's own signatures, and is checked again whenever it is read.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from embhub.durable import write_atomic
from embhub.log import checkpoints, merkle, proofs
from embhub.log.checkpoints import SignedCheckpoint
from embhub.log.errors import ForkedLogError, LogError, malformed
from embhub.log.notes import Note, VerifierKey
from embhub.site import config

FORKS, UNEXPLAINED = "log-forks", "log-unexplained"
MOST = 64  # files of one log in each folder; one has less than 5 kB
_LARGEST = 64_000
_WHAT = "pair of checkpoints"


@dataclass(frozen=True)
class Conflict:
    """What the larger of two trees begins with: the root over as many entries as the smaller has, and its proof."""

    root: bytes
    proof: tuple[bytes, ...]


@dataclass(frozen=True)
class Pair:
    """A file that was read again: what was remembered, and what was shown."""

    path: Path
    before: SignedCheckpoint
    found: SignedCheckpoint


def keep_fork(
    log: VerifierKey, before: SignedCheckpoint, found: SignedCheckpoint, shown: Conflict | None
) -> Path | None:
    """Keep two checkpoints of different histories; None where the folder is full.

    Args:
        shown: None for two trees of one size, which need no proof.

    Raises:
        ConfigError: it cannot be written.
    """
    hashes = () if shown is None else (shown.root, *shown.proof)
    rest = "".join(f"{base64.b64encode(one).decode()}\n" for one in hashes)
    return _keep(FORKS, log, before, found, f"\n{rest}".encode() if rest else b"")


def keep_unexplained(log: VerifierKey, before: SignedCheckpoint, found: SignedCheckpoint) -> Path | None:
    """Keep two checkpoints of which nothing shows whether they are of one history; as `keep_fork`."""
    return _keep(UNEXPLAINED, log, before, found, b"")


def unexplained(log: VerifierKey) -> list[Pair]:
    """The pairs of this log that wait for an explanation. `path.unlink()` settles one."""
    return [pair for pair, _ in _pairs(UNEXPLAINED, log)]


def refuse_forked(log: VerifierKey) -> None:
    """Refuse a log of which this site holds evidence, until a person removed it.

    Raises:
        ForkedLogError: it signed two histories.
    """
    for pair, conflict in _pairs(FORKS, log):
        if _shows(pair, conflict):
            raise ForkedLogError(
                f"the log {log.name} signed two histories: {pair.path}",
                "send the file to other members of the registry, and ask its operator by telephone; remove it when all"
                " agree what happened",
            )


def _shows(pair: Pair, conflict: Conflict | None) -> bool:
    first, second = sorted((pair.before, pair.found), key=lambda one: one.size)
    if first.size == second.size:
        return first.root != second.root
    if conflict is None or conflict.root == first.root:
        return False
    try:
        merkle.check_consistency(first.size, second.size, conflict.root, second.root, conflict.proof)
    except ForkedLogError:
        return False
    return True


def _keep(folder: str, log: VerifierKey, before: SignedCheckpoint, found: SignedCheckpoint, rest: bytes) -> Path | None:
    both = before.checkpoint.text + found.checkpoint.text
    prefix = log.key_id.hex()
    path = _folder(folder) / f"{prefix}-{hashlib.sha256(both.encode()).hexdigest()[:16]}.txt"
    if not path.exists():
        if len(list(path.parent.glob(f"{prefix}-*.txt"))) >= MOST:
            return None
        text = b"\n".join(Note(one.note.text, tuple(one.note.by(log)[:1])).to_bytes() for one in (before, found))
        write_atomic(path, text + rest, mode=0o600)
    return path


def _pairs(folder: str, log: VerifierKey) -> Iterator[tuple[Pair, Conflict | None]]:
    """Files that are damaged, or of another log, are no evidence of this one."""
    for path in sorted(_folder(folder).glob("*.txt")):
        try:
            yield _read(path, log)
        except (LogError, OSError):
            continue


def _read(path: Path, log: VerifierKey) -> tuple[Pair, Conflict | None]:
    with path.open("rb") as stream:
        parts = stream.read(_LARGEST).split(b"\n\n")
    if len(parts) not in (4, 5):
        raise malformed(_WHAT, "it is not two signed checkpoints")
    before, found = (
        checkpoints.open_signed(parts[at] + b"\n\n" + parts[at + 1].removesuffix(b"\n") + b"\n", log=log)
        for at in (0, 2)
    )
    if len(parts) == 4:
        return Pair(path, before, found), None
    lines = parts[4].decode("ascii", "replace").split("\n")[:-1]
    root, *proof = (proofs.read_hash(line, what=_WHAT) for line in lines or [""])
    return Pair(path, before, found), Conflict(root, tuple(proof))


def _folder(name: str) -> Path:
    return config.paths().state / name
