"""Reading a log's files, wherever they come from: checkpoint, tiles, entries, proofs. `http_log` asks a registry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from embhub.errors import RegistryError
from embhub.log import checkpoints, merkle, notes, proofs, tiles
from embhub.log.building import TreeBuilder
from embhub.log.checkpoints import SignedCheckpoint
from embhub.log.errors import MalformedLogError
from embhub.log.notes import Note
from embhub.log.proofs import LogProof
from embhub.log.tiles import Tile, TileReader

NOT_IN_LOG = "NotInLog"
"""What a registry that makes proofs answers in `X-Error-Code` where there is none to make."""
MOST_SEARCHED = 1_000  # tiles of 256 hashes that are looked through for an entry
MOST_READ = 64_000_000  # bytes of entries that a reader looks through; embhub's own have some 500
MOST_WATCHED = 20_000_000_000  # that a monitor, or a mirror, reads at once, some 35 million entries
OVERHEAD = 64  # bytes that an entry counts beside its own: many empty ones take time, too


class NotInLogError(LookupError):
    """A registry that makes proofs has no such entry: nobody need look through its tiles."""


class LogSource(Protocol):
    """Where the files of a log come from. Nothing that it returns is trusted."""

    def read(self, name: str, *, limit: int) -> bytes | None:
        """The file of this name below `/log`, or None where there is none."""
        ...


class FolderLog:
    """A log's files on this machine: an export, a stick, a mirror."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, name: str, *, limit: int) -> bytes | None:
        """As `LogSource`. Raises RegistryError where the file is too large or cannot be read."""
        try:
            with (self._folder / name).open("rb") as stream:
                data = stream.read(limit + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise RegistryError(f"cannot read {self._folder / name}: {error.strerror}", "check the folder") from error
        if len(data) > limit:
            raise RegistryError(f"{self._folder / name} has more than {limit:,} bytes", "it is no file of a log")
        return data


def checkpoint(source: LogSource) -> bytes | None:
    """The newest checkpoint, unverified; None where there is no log."""
    return source.read("checkpoint", limit=notes.MAX_BYTES)


def proof(source: LogSource, leaf: bytes) -> bytes | None:
    """The proof of an entry, unverified; None where the log has no such entry.

    Where nobody makes one (the log is files alone), it is made here from the tiles, for one of the newest entries.

    Raises:
        RegistryError: the log is not read, or has more entries than are looked through.
        MalformedLogError: its checkpoint or a tile is damaged.
    """
    hashed = merkle.leaf_hash(leaf)
    try:
        made = source.read(f"proof/{hashed.hex()}", limit=proofs.MAX_BYTES)
    except NotInLogError:
        return None
    return made if made is not None else _prove(source, hashed)


def _prove(source: LogSource, hashed: bytes) -> bytes | None:
    """The proof of the entry with this hash; looked for among the newest entries first.

    Raises:
        RegistryError: it is not among the newest entries, and the log has older ones.
    """
    data = checkpoint(source)
    if data is None:
        return None
    note = notes.parse(data)
    size = checkpoints.parse(note).size
    last = (size + tiles.WIDTH - 1) // tiles.WIDTH
    first = max(last - MOST_SEARCHED, 0)
    place = search(source, hashed, size, range(last - 1, first - 1, -1))
    if place is not None:
        return _make_proof(source, place, size, note).to_bytes()
    if first:
        raise RegistryError(
            f"it is not among the newest {MOST_SEARCHED * tiles.WIDTH:,} of {size:,} entries, and older ones are not"
            " looked through",
            "ask the registry itself, which finds them",
        )
    return None


def search(source: LogSource, hashed: bytes, size: int, numbers: Iterable[int]) -> int | None:
    """The place of the entry with this hash, where it is in one of these tiles of leaf hashes.

    Args:
        source: the log.
        hashed: the leaf hash.
        size: of the log, in entries.
        numbers: of the tiles, in the order in which they are read.

    Raises:
        RegistryError: a tile is missing. MalformedLogError: one is damaged.
    """
    for number in numbers:
        tile = tiles.needed(0, number, size)
        if tile is None:
            continue
        hashes = tiles.split_hashes(read_tile(source, tile), tile.width)
        if hashed in hashes:
            return tile.first + hashes.index(hashed)
    return None


def prove_inclusion(source: LogSource, index: int, signed: SignedCheckpoint) -> LogProof:
    """A proof for the entry at `index` under this checkpoint, from the tiles, unchecked. Raises as `prove_consistency`.

    Raises:
        ValueError: the checkpoint has no such entry.
    """
    return _make_proof(source, index, signed.size, signed.note)


def _make_proof(source: LogSource, index: int, size: int, note: Note) -> LogProof:
    node = TileReader(size, lambda tile: read_tile(source, tile)).node
    return proofs.make(index, merkle.inclusion_proof(index, size, node), note)


def prove_consistency(source: LogSource, first: int, second: int) -> Sequence[bytes]:
    """A proof from the tiles, unchecked.

    Raises:
        RegistryError: a tile is missing. MalformedLogError: one is damaged.
    """
    return merkle.consistency_proof(first, second, TileReader(second, lambda tile: read_tile(source, tile)).node)


def stream(source: LogSource, first: int, size: int, *, most: int) -> Iterator[bytes]:
    """The entries from `first` to before `size`, unchecked, one after the other; one bundle is held.

    Args:
        most: bytes that are read, each entry counted with `OVERHEAD` more.

    Raises:
        RegistryError: a bundle is missing, or there are more bytes. MalformedLogError: a bundle is damaged.
    """
    taken = 0
    if (size - first) * OVERHEAD > most:
        raise _too_long(most)
    for number in range(first // tiles.WIDTH, (size + tiles.WIDTH - 1) // tiles.WIDTH):
        tile = tiles.needed(None, number, size)
        if tile is None:
            continue
        data = read_tile(source, tile)
        taken += len(data) + OVERHEAD * tile.width
        if taken > most:
            raise _too_long(most)
        yield from tiles.split_entries(data, tile.width)[max(first - tile.first, 0) :]


def checked_bundles(
    source: LogSource, before: TreeBuilder, signed: SignedCheckpoint, *, kept: LogSource | None = None
) -> Iterator[tuple[Tile, list[bytes]]]:
    """The bundles under a checkpoint from the one on in which `before` ends, each checked when it comes; one is held.

    The hashes over all new bundles are read first, and checked against the checkpoint: 32 bytes for 256 entries.

    Args:
        source: the log.
        before: the tree of the entries that are known.
        signed: the checkpoint.
        kept: where a bundle may lie already. It is used if it is the one that was signed.

    Raises:
        MalformedLogError: a tile is damaged, or does not belong to this checkpoint.
        RegistryError: one is missing, or there are more than `MOST_WATCHED` bytes.
    """
    if (signed.size - before.size) * OVERHEAD > MOST_WATCHED:
        raise _too_long(MOST_WATCHED)
    first, taken = before.size // tiles.WIDTH, 0
    roots, leaves = _hashes(source, before, signed)
    for number in range(first, (signed.size + tiles.WIDTH - 1) // tiles.WIDTH):
        tile = Tile(None, number, tiles.WIDTH if number - first < len(roots) else len(leaves))
        expected = roots[number - first] if number - first < len(roots) else leaves
        entries = _kept_bundle(kept, tile, expected) if kept is not None else None
        if entries is None:
            data = read_tile(source, tile)
            taken += len(data) + OVERHEAD * tile.width
            if taken > MOST_WATCHED:
                raise _too_long(MOST_WATCHED)
            entries = tiles.split_entries(data, tile.width)
            if not _fits(entries, expected):
                raise not_its_own(signed)
        yield tile, entries


def _hashes(source: LogSource, before: TreeBuilder, signed: SignedCheckpoint) -> tuple[list[bytes], list[bytes]]:
    """The hash over each whole bundle from the last one of `before` on, and the leaf hashes after them; checked."""
    tree = before.aligned()
    first, whole = tree.size // tiles.WIDTH, signed.size // tiles.WIDTH
    roots = list[bytes]()
    for number in range(first // tiles.WIDTH, (whole + tiles.WIDTH - 1) // tiles.WIDTH):
        if (tile := tiles.needed(1, number, signed.size)) is not None:
            roots += tiles.split_hashes(read_tile(source, tile), tile.width)[max(first - tile.first, 0) :]
    last = tiles.needed(0, whole, signed.size)
    leaves = tiles.split_hashes(read_tile(source, last), last.width) if last is not None else []
    for root in roots:
        tree.add_tile(root)
        tree.take_whole()
    tree.add(leaves)
    if tree.root() != signed.root:
        raise not_its_own(signed)
    return roots, leaves


def _kept_bundle(kept: LogSource, tile: Tile, expected: bytes | list[bytes]) -> list[bytes] | None:
    try:
        data = kept.read(tile.path, limit=tiles.LARGEST_BUNDLE)
        entries = tiles.split_entries(data, tile.width) if data is not None else None
    except (RegistryError, MalformedLogError):
        return None
    return entries if entries is not None and _fits(entries, expected) else None


def _fits(entries: Sequence[bytes], expected: bytes | list[bytes]) -> bool:
    """Whether these are the entries under this hash, or with these leaf hashes."""
    hashes = [merkle.leaf_hash(entry) for entry in entries]
    return hashes == expected if isinstance(expected, list) else merkle.root_of(hashes) == expected


def not_its_own(signed: SignedCheckpoint) -> MalformedLogError:
    """What is said of tiles that do not belong to a checkpoint."""
    return MalformedLogError(
        f"the entries that {signed.checkpoint.origin} serves are not those under its checkpoint of {signed.size:,}",
        "ask again: a cache may have damaged them; if it stays so, inform the registry's operator and other members",
    )


def _too_long(most: int) -> RegistryError:
    return RegistryError(
        f"the log has more than {most // 1_000_000:,} MB of entries to read",
        "ask the registry's operator why its log has grown so much",
    )


def whole(source: LogSource, signed: SignedCheckpoint, *, known: Iterable[SignedCheckpoint] = ()) -> Iterator[bytes]:
    """Every entry under a checkpoint, from the first on. The tree is computed from them: they count at the end only.

    Args:
        source: the log.
        signed: the checkpoint.
        known: further checkpoints, of at most its size, under which the entries have to be, too.

    Raises:
        MalformedLogError: they are not those under these checkpoints: damaged, or of another history. As `stream`,
            with at most `MOST_READ` bytes.
    """
    builder = TreeBuilder()
    known = tuple(known)
    for entry in stream(source, 0, signed.size, most=MOST_READ):
        builder.add((merkle.leaf_hash(entry),))
        builder.take_whole()
        for one in (signed, *known):
            if one.size == builder.size and one.root != builder.root():
                raise not_its_own(one)
        yield entry


def read_tile(source: LogSource, tile: Tile) -> bytes:
    """A tile; a part of one from the whole one, where that took its place. Raises RegistryError."""
    limit = tiles.LARGEST if tile.level is not None else tiles.LARGEST_BUNDLE
    data = source.read(tile.path, limit=limit)
    if data is None and tile.width < tiles.WIDTH:
        whole = source.read(Tile(tile.level, tile.number).path, limit=limit)
        data = None if whole is None else tiles.narrow(whole, tile)
    if data is None:
        raise RegistryError(f"the log lacks {tile.path}", "ask again; if it stays so, inform the registry's operator")
    return data


class TileProofs:
    """Proofs between trees of one log, unchecked. Both calls raise RegistryError where a tile is missing, and
    MalformedLogError where one is damaged.
    """

    def __init__(self, source: LogSource) -> None:
        self._source = source
        self._readers: dict[int, TileReader] = {}

    def prove(self, first: int, second: int) -> Sequence[bytes]:
        """A proof of consistency from the tree of `first` entries to the one of `second`."""
        return merkle.consistency_proof(first, second, self._node(second))

    def prefix(self, first: int, second: int) -> bytes:
        """The root over the first `first` entries, from the tiles of the tree of `second`."""
        return merkle.root_at(first, self._node(second))

    def _node(self, size: int) -> merkle.Node:
        if size not in self._readers:
            self._readers[size] = TileReader(size, lambda tile: read_tile(self._source, tile))
        return self._readers[size].node
