"""A log that is too long to be read at once: what was read stays known, and each call reads a part of what is new.

What stays is of checked entries: the digest of what was signed, by which an entry is found, and its leaf hash, by which
the entry is known again when it is fetched. Before anything is added, tiles have to lead from it to the checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from embhub.client.log import log_reader, read_entries
from embhub.client.log.log_reader import OVERHEAD, LogSource
from embhub.client.log.read_entries import ROW, LookedThrough, ReadEntries
from embhub.errors import RegistryError
from embhub.log import leaves, merkle, tiles
from embhub.log.building import TreeBuilder
from embhub.log.checkpoints import SignedCheckpoint
from embhub.log.errors import ForkedLogError
from embhub.log.merkle import HASH
from embhub.log.notes import VerifierKey
from embhub.log.tiles import Tile

Found = tuple[bytes, Callable[[], bytes]]
"""The digest of what was signed, and the entry, which is fetched when it is called."""


def read(source: LogSource, log: VerifierKey, signed: SignedCheckpoint, *, most: int) -> Iterator[Found]:
    """Every entry under a checkpoint, from the first on, as far as it was read now and before.

    Args:
        source: the log.
        log: its key.
        signed: the checkpoint.
        most: entries that are read in this call, and `log_reader.MOST_READ` bytes; a bundle is read whole.

    Raises:
        RegistryError: it has more than `read_entries.MOST` entries, a tile is missing, or the rest has to be read in
            later calls. MalformedLogError: what it serves is not under its checkpoint.
        ConfigError: what was read cannot be remembered.
    """
    if signed.size > read_entries.MOST:
        raise RegistryError(f"it has {signed.size:,} entries, and at most {read_entries.MOST:,} are read for this")
    kept = read_entries.load(log)
    resumed = _resumed(source, kept, signed)
    tree, rows = resumed or TreeBuilder(), bytearray(kept.rows if kept is not None and resumed is not None else b"")
    goal, taken, known = tree.size + most, 0, tree.size
    if tree.size < signed.size:
        for tile, entries in log_reader.checked_bundles(source, tree, signed):
            for entry in entries[tree.size - tile.first :]:
                hashed = merkle.leaf_hash(entry)
                rows += _row(entry, hashed)
                tree.add((hashed,))
            tree.take_whole()
            taken += sum(map(len, entries)) + OVERHEAD * tile.width
            if tree.size >= goal or taken > log_reader.MOST_READ:
                break
        if tree.size - known >= tiles.WIDTH:
            _remember(log, tree, rows)
    if tree.size < signed.size:
        raise RegistryError(
            f"only {tree.size:,} of its {signed.size:,} entries so far, and at most {most:,} at a time; verify again",
            "each call reads a further part of the log",
        )
    if tree.root() != signed.root:
        raise log_reader.not_its_own(signed)
    fetched = _Entries(source, signed, rows)
    return ((bytes(rows[at : at + HASH]), partial(fetched.entry, at // ROW)) for at in range(0, len(rows), ROW))


def first_after(
    source: LogSource, log: VerifierKey, signed: SignedCheckpoint, index: int, wanted: Callable[[bytes], bool],
    *, purpose: str, most: int,
) -> int | None:  # fmt: skip
    """The place of the first entry after the one at `index` that is `wanted`, each checked; None where there is none.

    What was looked through for the same `purpose` in an earlier call is not read again.

    Raises:
        RegistryError: a tile is missing, or the rest has to be looked through in later calls: `most` entries or
            `log_reader.MOST_READ` bytes were. MalformedLogError: what it serves is not under its checkpoint.
        ConfigError: what was looked through cannot be remembered.
    """
    first = done = max(index + 1, looked_through(source, log, signed, purpose))
    if first >= signed.size:
        return None
    taken, before = 0, TreeBuilder.resume(first, partial(_narrower, source, signed))
    for tile, entries in log_reader.checked_bundles(source, before, signed):
        for place, entry in enumerate(entries, tile.first):
            if place >= first and wanted(entry):
                _save_looked_through(source, log, signed, purpose, tile.first, since=first)
                return place
        done = tile.first + tile.width
        taken += sum(map(len, entries)) + OVERHEAD * tile.width
        if done - first >= most or taken > log_reader.MOST_READ:
            break
    _save_looked_through(source, log, signed, purpose, done, since=first)
    if done < signed.size:
        raise RegistryError(
            f"only {done:,} of its {signed.size:,} entries were looked through so far; verify again",
            "each call reads a further part of the log",
        )
    return None


def _save_looked_through(
    source: LogSource, log: VerifierKey, signed: SignedCheckpoint, purpose: str, done: int, *, since: int
) -> None:
    if done - since >= tiles.WIDTH:
        root = TreeBuilder.resume(done, partial(_narrower, source, signed)).root()
        read_entries.save_looked_through(log, purpose, LookedThrough(done, root))


def looked_through(source: LogSource, log: VerifierKey, signed: SignedCheckpoint, purpose: str) -> int:
    """How many entries were looked through; 0 where the log under this checkpoint does not begin with them.

    Where more entries follow, `log_reader.checked_bundles` checks that these tiles lead to the checkpoint.
    """
    known = read_entries.load_looked_through(log, purpose)
    if known is None or not 0 < known.size <= signed.size:
        return 0
    if known.size == signed.size:
        return known.size if known.root == signed.root else 0
    begun = TreeBuilder.resume(known.size, partial(_narrower, source, signed))
    return known.size if begun.root() == known.root else 0


def check_known(source: LogSource, known: SignedCheckpoint, signed: SignedCheckpoint) -> None:
    """Refuse a log whose files do not show that it begins with the entries under a checkpoint that is known.

    Raises:
        MalformedLogError: they are not those under it. RegistryError: a tile is missing.
    """
    longer = 0 < known.size < signed.size
    proof = log_reader.prove_consistency(source, known.size, signed.size) if longer else ()
    try:
        merkle.check_consistency(known.size, signed.size, known.root, signed.root, proof)
    except ForkedLogError as error:
        raise log_reader.not_its_own(known) from error


def _row(entry: bytes, hashed: bytes) -> bytes:
    digest = leaves.digest_in(entry)
    return (digest if len(digest) == HASH else bytes(HASH)) + hashed


def _resumed(source: LogSource, kept: ReadEntries | None, signed: SignedCheckpoint) -> TreeBuilder | None:
    """The tree over what was read; None where the log does not begin with it. A tile that is missing raises: what was
    read is not given up for it.
    """
    if kept is None or kept.size > signed.size:
        return None
    tree = TreeBuilder.resume(kept.size, partial(_narrower, source, signed))
    return tree if tree.root() == kept.root else None


def _narrower(source: LogSource, signed: SignedCheckpoint, tile: Tile) -> bytes:
    """An earlier state of a tile, from its present one: files alone have no other."""
    wider = tiles.needed(tile.level, tile.number, signed.size)
    if wider is None:
        raise RegistryError(f"the log lacks {tile.path}", "ask again")
    return tiles.narrow(log_reader.read_tile(source, wider), tile, wider.width)


def _remember(log: VerifierKey, tree: TreeBuilder, rows: bytearray) -> None:
    """Keep what is under whole bundles: the last part of a log is read again."""
    whole = tree.aligned()
    read_entries.save(log, ReadEntries(whole.root(), bytes(rows[: whole.size * ROW])))


class _Entries:
    """Entries that were read before, fetched again; of `log_reader.MOST_READ` bytes of bundles at most."""

    def __init__(self, source: LogSource, signed: SignedCheckpoint, rows: bytearray) -> None:
        self._source, self._signed, self._rows = source, signed, rows
        self._last: tuple[int, list[bytes]] = (-1, [])
        self._left = log_reader.MOST_READ

    def entry(self, index: int) -> bytes:
        """The entry at `index`.

        Raises:
            MalformedLogError: it is not the one that was read. RegistryError: it is missing, or too much was fetched.
        """
        number, within = divmod(index, tiles.WIDTH)
        if self._last[0] != number:
            self._last = (number, self._bundle(number))
        entry = self._last[1][within]
        if merkle.leaf_hash(entry) != self._rows[index * ROW + HASH : (index + 1) * ROW]:
            raise log_reader.not_its_own(self._signed)
        return entry

    def _bundle(self, number: int) -> list[bytes]:
        tile = tiles.needed(None, number, self._signed.size)
        if tile is None or self._left < 0:
            raise RegistryError("too many of its entries name this embedding", "inform the registry's operator")
        data = log_reader.read_tile(self._source, tile)
        self._left -= len(data)
        return tiles.split_entries(data, tile.width)
