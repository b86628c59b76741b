"""The mirror's copy of a log: its tiles are computed here from entries, so what is served is what was checked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from embhub.client import log_reader, watching
from embhub.client.log_reader import FolderLog, LogSource
from embhub.client.log_tiles import TileProofs
from embhub.durable import write_atomic
from embhub.errors import RegistryError
from embhub.log import checkpoints, merkle, tiles
from embhub.log.building import TreeBuilder
from embhub.log.checkpoints import SignedCheckpoint
from embhub.log.errors import MalformedLogError
from embhub.log.notes import VerifierKey
from embhub.log.tiles import WIDTH, Tile, TileReader
from embhub.site import log_memory

CHECKPOINT = "checkpoint"


class LogCopy:
    """A folder with every entry of one log up to some size."""

    def __init__(self, folder: Path, key: VerifierKey) -> None:
        self.folder, self._key = folder, key
        self.source = FolderLog(folder)

    def checkpoint(self) -> SignedCheckpoint | None:
        """The newest checkpoint whose entries are all here. Raises LogError where it was altered."""
        data = log_reader.checkpoint(self.source)
        return None if data is None else checkpoints.open_signed(data, log=self._key)

    def follow(self, upstream: LogSource) -> SignedCheckpoint:
        """Read what was added, and check that it continues what is here.

        Raises:
            ForkedLogError: the log was rewritten, or shows another history; both checkpoints are kept as evidence.
            MalformedLogError: its entries are not those under its checkpoint: damaged, or held back.
            RegistryError: it is not read, or shows an older state. LogError: another fault of it.
        """
        found, before = watching.fetch(upstream, self._key), self.checkpoint()
        known = before.size if before is not None else 0
        if found.size < known:
            self._remember(found)  # raises where the two are not of one history
            raise RegistryError(
                f"{self._key.name} shows {found.size:,} entries, and {known:,} are here: an older state",
                "ask again; if it stays so, inform the registry's operator",
            )
        builder = TreeBuilder.resume(known, self.read)
        added = log_reader.entries(upstream, known, found.size)
        builder.add(map(merkle.leaf_hash, added))
        if builder.root() != found.root:
            sent = TileProofs(upstream)
            log_memory.advance(self._key, found, prove=sent.prove, prefix=sent.prefix, book=log_memory.MONITOR)
            raise MalformedLogError(
                f"the entries that {self._key.name} serves are not those under its checkpoint of {found.size:,}",
                "the next round asks again; if it stays so, inform the registry's operator and its other members",
            )
        self._write(builder, known, added)
        self._remember(found)
        self.set_checkpoint(found)
        return found

    def set_checkpoint(self, signed: SignedCheckpoint) -> None:
        """Keep this one as the newest, with the cosignatures that it has."""
        write_atomic(self.folder / CHECKPOINT, signed.to_bytes())

    def read(self, tile: Tile) -> bytes:
        """A tile of the copy."""
        return log_reader.read_tile(self.source, tile)

    def prove(self, first: int, second: int) -> Sequence[bytes]:
        """A proof of consistency, from the copy."""
        return merkle.consistency_proof(first, second, TileReader(second, self.read).node)

    def _remember(self, found: SignedCheckpoint) -> None:
        held = TileProofs(self.source)
        log_memory.advance(self._key, found, prove=held.prove, prefix=held.prefix, book=log_memory.MONITOR)

    def _write(self, builder: TreeBuilder, known: int, added: list[bytes]) -> None:
        first = known // WIDTH
        start = tiles.needed(None, first, known)
        held = tiles.split_entries(self.read(start), start.width) if start is not None else []
        rows = [*held, *added]
        for number in range(first, (builder.size + WIDTH - 1) // WIDTH):
            part = rows[(number - first) * WIDTH : (number - first + 1) * WIDTH]
            write_atomic(self.folder / Tile(None, number, len(part)).path, tiles.join_entries(part))
        for tile, data in builder.take():
            write_atomic(self.folder / tile.path, data)
