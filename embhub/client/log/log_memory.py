"""The newest checkpoint that this site saw of each log, in `state/logs.json`: what a later one must continue.

A reader, a monitor and a witness each have a book, and each compares with all three. A log that the reader did not see
yet is no new one where another book knows it. One process at a time compares and writes. What shows that a log forked,
and what nothing explains yet, `log_evidence` keeps.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from embhub.client.log import log_evidence
from embhub.client.log.log_evidence import Conflict
from embhub.durable import locked
from embhub.errors import RegistryError
from embhub.log import checkpoints, merkle
from embhub.log.checkpoints import SignedCheckpoint
from embhub.log.errors import ForkedLogError, LogError, MalformedLogError
from embhub.log.notes import VerifierKey
from embhub.site.memory.books import Book

BOOKS = READER, MONITOR, WITNESS = "logs", "watched-logs", "cosigned-logs"
Prove = Callable[[int, int], Sequence[bytes]]
"""`prove(first, second)`: a proof of consistency between the trees of these sizes, unchecked."""
Prefix = Callable[[int, int], bytes]
"""`prefix(first, second)`: the root over the first entries of the larger tree, unchecked."""


def recall(log: VerifierKey, *, book: str = READER) -> SignedCheckpoint | None:
    """The checkpoint of this log that is remembered, its signature checked again; None for a log not seen before.

    `book` is the memory of a reader (`pull`, `verify`), of a monitor, or of a witness.

    Raises:
        ConfigError: the memory cannot be read.
    """
    text = _book(book).read().get(str(log))
    if text is None:
        return None
    try:
        return checkpoints.open_signed(text.encode(), log=log)
    except LogError as error:
        raise _book(book).unreadable() from error


def anchor(log: VerifierKey, size: int) -> SignedCheckpoint | None:
    """What a reader compares a checkpoint of this size with: the one in its own book.

    Where the reader saw none of the log, another book's: one of the same size, else the largest.

    Raises:
        ConfigError: the memory cannot be read.
    """
    known = _known(log)
    return known[_first(known, READER, size)]


def advance(
    log: VerifierKey, found: SignedCheckpoint, *, prove: Prove | None, prefix: Prefix | None = None, book: str = READER
) -> SignedCheckpoint | None:
    """Compare a checkpoint with those remembered, and remember the larger. Returns what the book remembered before.

    For a reader that is `anchor`: a book of its own that is empty begins with nothing that another book contradicts.

    Args:
        prove: where a proof comes from. None where nobody can be asked: then only a tree of the same size is
            compared, and nothing new is remembered unless nothing was, or it is what another book has.
        prefix: where the root of an earlier tree comes from. It shows a fork where a proof of consistency leaves out
            what its smaller tree has: at sizes that are powers of two.

    Raises:
        ForkedLogError: two checkpoints are shown to be of different histories. Both are kept as evidence.
        MalformedLogError, RegistryError: nothing shows that they are of one history; both are kept, until `settle`.
        ConfigError: the memory cannot be read or written.
    """
    _refuse_far_ahead(found)
    while True:
        known = _known(log)
        _compare(log, found, known, prove, prefix, book)  # asks others, so the lock is not held meanwhile
        held, before = known[book], known[_first(known, book, found.size)]
        if before is not None and (found.size < before.size or (prove is None and found.size != before.size)):
            return before
        if held is not None and (prove is None or found.to_bytes() == held.to_bytes()):
            return before  # nothing to write: a state folder may be read-only
        with locked(_book(READER).path):
            if _known(log) != known:
                continue
            _remember(log, found, book)
            return before


def _refuse_far_ahead(found: SignedCheckpoint) -> None:
    """No log has an entry for each second since 1970: a thief's checkpoint would make all honest ones look small.

    Raises:
        MalformedLogError: the checkpoint says more.
    """
    if found.size > time.time():
        raise MalformedLogError(
            f"the checkpoint of {found.checkpoint.origin} names {found.size:,} entries, which no log has by now",
            "check this machine's clock; if it is right, the log's key was stolen: inform the operator by telephone",
        )


def compare(
    log: VerifierKey, found: SignedCheckpoint, *, prove: Prove | None, prefix: Prefix | None = None, book: str = READER
) -> None:
    """As `advance`, and nothing is remembered."""
    _compare(log, found, _known(log), prove, prefix, book)


def compare_with(
    log: VerifierKey, held: SignedCheckpoint, found: SignedCheckpoint, *, prove: Prove, prefix: Prefix | None = None
) -> None:
    """Compare a checkpoint with one that is kept beside the books, such as that of a copy. Raises as `advance`."""
    _compare(log, found, {**dict.fromkeys(BOOKS), MONITOR: held}, prove, prefix, MONITOR)


def settle(log: VerifierKey, found: SignedCheckpoint, *, prove: Prove, prefix: Prefix | None = None) -> list[Path]:
    """Compare what nothing explained so far with a checkpoint that is known to be good.

    Returns:
        The files of those pairs that are still not explained. Explained ones are removed.

    Raises:
        ForkedLogError: one is of another history; both are kept as evidence.
        ConfigError: evidence cannot be written.
    """
    left = []
    for pair in log_evidence.unexplained(log):
        try:
            conflict = relate(pair.found, found, prove, prefix)
        except (RegistryError, MalformedLogError):
            left.append(pair.path)
            continue
        pair.path.unlink(missing_ok=True)
        if conflict is not None:
            raise _forked(log, found, pair.found, conflict)
    return left


def relate(
    one: SignedCheckpoint, other: SignedCheckpoint, prove: Prove, prefix: Prefix | None = None
) -> Conflict | None:
    """Whether two checkpoints are of one history: None, or what shows that they are not.

    Raises:
        MalformedLogError: a proof came that shows neither. What `prove` and `prefix` raise.
    """
    first, second = sorted((one, other), key=lambda signed: signed.size)
    if first.size == second.size:
        return None if first.root == second.root else Conflict(other.root, ())
    proof = tuple(prove(first.size, second.size))
    try:
        merkle.check_consistency(first.size, second.size, first.root, second.root, proof)
    except ForkedLogError:
        root = merkle.root_shown(first.size, second.size, second.root, proof)
        if root is None and prefix is not None:
            root = prefix(first.size, second.size)
        if root is None or not _leads(first.size, second, root, proof) or root == first.root:
            raise _damaged(first, second) from None
        return Conflict(root, proof)
    return None


def _known(log: VerifierKey) -> dict[str, SignedCheckpoint | None]:
    return {book: recall(log, book=book) for book in BOOKS}


def _first(known: Mapping[str, SignedCheckpoint | None], book: str, size: int) -> str:
    """The book whose checkpoint has to be shown to be of one history: a reader without one relies on the others."""
    if known[book] is not None or book != READER:
        return book
    sizes = {name: one.size for name, one in known.items() if one is not None}
    return max(sizes, key=lambda name: (sizes[name] == size, sizes[name]), default=book)


def _remember(log: VerifierKey, found: SignedCheckpoint, book: str) -> None:
    memory, text = _book(book).read(), found.to_bytes().decode()
    if memory.get(str(log)) != text:
        _book(book).write(memory | {str(log): text})


def _compare(
    log: VerifierKey, found: SignedCheckpoint, known: Mapping[str, SignedCheckpoint | None], prove: Prove | None,
    prefix: Prefix | None, book: str,
) -> None:  # fmt: skip
    """Compare with what each book remembers: the first has to be shown, of others a conflict counts."""
    first = _first(known, book, found.size)
    for other in (first, *(name for name in BOOKS if name != first)):
        held = known[other]
        if held is None or (prove is None and held.size != found.size):
            continue
        try:
            conflict = relate(held, found, prove or _nobody, prefix)
        except (RegistryError, MalformedLogError) as error:
            if other != first and (book != MONITOR or held.size > found.size):
                continue  # the monitor's rounds compare the others, too
            path = log_evidence.keep_unexplained(log, held, found)
            error.message = f"{error.message}; {_kept(path, log)}"
            raise
        if conflict is not None:
            raise _forked(log, held, found, conflict)


def _leads(size: int, second: SignedCheckpoint, root: bytes, proof: Sequence[bytes]) -> bool:
    try:
        merkle.check_consistency(size, second.size, root, second.root, proof)
    except ForkedLogError:
        return False
    return True


def two_trees(log: VerifierKey, before: SignedCheckpoint, found: SignedCheckpoint) -> ForkedLogError:
    """The refusal of a log that signed two trees of one size. Both checkpoints are kept as evidence."""
    return _forked(log, before, found, Conflict(found.root, ()))


def _forked(log: VerifierKey, before: SignedCheckpoint, found: SignedCheckpoint, conflict: Conflict) -> ForkedLogError:
    path = log_evidence.keep_fork(log, before, found, conflict if before.size != found.size else None)
    if before.size == found.size:
        text = f"it shows two different trees of {found.size} entries"
    else:
        small, large = sorted((before.size, found.size))
        text = f"its {large} entries do not begin with the {small} that it signed: it was rewritten"
    return ForkedLogError(
        f"the log is not append-only: {text}",
        f"{_kept(path, log)}: send them to other members of the registry, and ask its operator by telephone",
    )


def _damaged(first: SignedCheckpoint, second: SignedCheckpoint) -> MalformedLogError:
    return MalformedLogError(
        f"what was sent does not show whether the {second.size} entries of {first.checkpoint.origin} begin with its"
        f" {first.size}",
        "ask again: a cache may have damaged it; if it stays so, inform the registry's operator",
    )


def _kept(path: Path | None, log: VerifierKey) -> str:
    if path is None:
        return f"neither checkpoint is kept, because {log_evidence.MOST} pairs of this log are"
    return f"both checkpoints, signed by {log.name}, are kept in {path}"


def _nobody(first: int, second: int) -> Sequence[bytes]:
    raise RegistryError(f"nobody is asked whether {second} entries begin with {first}", "use the network")


def _book(name: str) -> Book[dict[str, str]]:
    return Book(
        name, dict[str, str], 8_000_000, "the checkpoints that this site remembers",
        "restore it from a backup; or remove it, knowing that a log that was rewritten would not be noticed",
    )  # fmt: skip
