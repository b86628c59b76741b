"""Every entry of the mirror's copy of a log is found and proved, however old it is.

Readers of other copies look through the newest entries alone (`log_reader.MOST_SEARCHED`). Here the files are at hand.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator

from embhub.client.log import log_reader
from embhub.client.log.log_reader import LogSource, NotInLogError
from embhub.log import merkle, tiles
from embhub.log.checkpoints import SignedCheckpoint

NEAR = 16  # tiles at the end that are looked through first: what is new is there, and needs no index
_PROOF = "proof/"
_HEAD = struct.Struct(f">HB{merkle.HASH - 3}x")  # of a leaf hash: the row that it is in, and what tells it apart there
_NUMBER_BITS = 24  # of a tile: enough for four thousand million entries


class LeafIndex:
    """In which tiles a leaf hash may be, by its first three bytes: 4 bytes of memory an entry, and 5 MB."""

    def __init__(self) -> None:
        self._rows = [array("I") for _ in range(1 << 16)]

    def add(self, number: int, data: bytes) -> None:
        """Note the hashes in a tile of leaf hashes. Raises `struct.error` where they are not whole hashes."""
        for row, tag in _HEAD.iter_unpack(data):
            self._rows[row].append(tag << _NUMBER_BITS | number)

    def tiles_of(self, hashed: bytes) -> Iterator[int]:
        """Numbers of the tiles that may hold this hash: few others are among them."""
        row, tag = _HEAD.unpack(hashed)
        for noted in self._rows[row]:
            if noted >> _NUMBER_BITS == tag:
                yield noted & ((1 << _NUMBER_BITS) - 1)


class LogEntries:
    """A log's files on this machine under one checkpoint, with a proof of each entry, as a registry makes them.

    Args:
        files: the files. They are looked through once, and only for an entry that is not among the newest.
        signed: the checkpoint.
    """

    def __init__(self, files: LogSource, signed: SignedCheckpoint) -> None:
        self._files, self._signed = files, signed
        self._index: LeafIndex | None = None

    def read(self, name: str, *, limit: int) -> bytes | None:
        """As `LogSource`.

        Raises:
            NotInLogError: a proof is asked for, and there is no such entry.
            RegistryError: a file is missing. MalformedLogError: a tile is damaged.
        """
        if not name.startswith(_PROOF):
            return self._files.read(name, limit=limit)
        place = self._place(bytes.fromhex(name.removeprefix(_PROOF)))
        if place is None:
            raise NotInLogError(name)
        return log_reader.prove_inclusion(self._files, place, self._signed).to_bytes()

    def _place(self, hashed: bytes) -> int | None:
        size = self._signed.size
        end = (size + tiles.WIDTH - 1) // tiles.WIDTH
        older = max(end - NEAR, 0)
        place = log_reader.search(self._files, hashed, size, range(end - 1, older - 1, -1))
        if place is not None or not older:
            return place
        if self._index is None:
            self._index = self._read_index(older)
        return log_reader.search(self._files, hashed, size, self._index.tiles_of(hashed))

    def _read_index(self, end: int) -> LeafIndex:
        index = LeafIndex()
        for number in range(end):
            data = log_reader.read_tile(self._files, tiles.Tile(0, number))
            index.add(number, b"".join(tiles.split_hashes(data, tiles.WIDTH)))
        return index
