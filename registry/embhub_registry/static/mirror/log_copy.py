"""The mirror's copy of a log: its tiles are computed here from entries, so what is served is what was checked."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from embhub.client.log import log_memory, log_reader
from embhub.client.log.log_reader import FolderLog, LogSource, TileProofs
from embhub.client.monitor import watching
from embhub.durable import write_atomic
from embhub.errors import RegistryError
from embhub.log import checkpoints, merkle, tiles
from embhub.log.building import TreeBuilder
from embhub.log.checkpoints import SignedCheckpoint
from embhub.log.errors import LogError, MalformedLogError
from embhub.log.notes import VerifierKey
from embhub.log.tiles import Tile, TileReader

CHECKPOINT = "checkpoint"


class LogCopy:
    """A folder with every entry of one log up to some size."""

    def __init__(self, folder: Path, key: VerifierKey) -> None:
        self.folder, self._key = folder, key
        self.source = FolderLog(folder)

    def checkpoint(self) -> SignedCheckpoint | None:
        """The newest checkpoint whose entries are all here; None where there is none that this log's key signed."""
        data = log_reader.checkpoint(self.source)
        try:
            return None if data is None else checkpoints.open_signed(data, log=self._key)
        except LogError:  # it was altered, or the registry began another log
            return None

    def follow(self, upstream: LogSource) -> SignedCheckpoint:
        """Read what was added, and check that it continues what is here.

        Raises:
            ForkedLogError: the log was rewritten, or shows another history; both checkpoints are kept as evidence.
            MalformedLogError: its entries are not those under its checkpoint: damaged, or held back.
            RegistryError: it is not read, or shows an older state. LogError: another fault of it.
        """
        found, before = watching.fetch(upstream, self._key), self.checkpoint()
        if before is not None and found.size < before.size:
            self._compare(before, found, TileProofs(self.source))
            self._remember(found)  # raises where the two are not of one history
            raise RegistryError(
                f"{self._key.name} shows {found.size:,} entries, and {before.size:,} are here: an older state",
                "ask again; if it stays so, inform the registry's operator",
            )
        sent = TileProofs(upstream)
        log_memory.compare(self._key, found, prove=sent.prove, prefix=sent.prefix, book=log_memory.MONITOR)
        if before is not None:
            self._compare(before, found, sent)
        self._grow(upstream, self._tree(before), found)
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

    def _compare(self, before: SignedCheckpoint, found: SignedCheckpoint, sent: TileProofs) -> None:
        """Compare with the checkpoint that lies here, too: what is remembered may be lost, or restored from before."""
        log_memory.compare_with(self._key, before, found, prove=sent.prove, prefix=sent.prefix)

    def _remember(self, found: SignedCheckpoint) -> None:
        held = TileProofs(self.source)
        log_memory.advance(self._key, found, prove=held.prove, prefix=held.prefix, book=log_memory.MONITOR)

    def _tree(self, before: SignedCheckpoint | None) -> TreeBuilder:
        """The tree that is here; an empty one where its files are damaged, and everything is looked at again."""
        if before is not None:
            with contextlib.suppress(RegistryError, MalformedLogError):
                tree = TreeBuilder.resume(before.size, self.read)
                if tree.root() == before.root:
                    return tree
        return TreeBuilder()

    def _grow(self, upstream: LogSource, tree: TreeBuilder, found: SignedCheckpoint) -> None:
        """Write the bundles that are missing, each checked, and the tiles over them. What a cut round left is kept."""
        for tile, entries in log_reader.checked_bundles(upstream, tree, found, kept=self.source):
            self._write(tile, tiles.join_entries(entries))
            tree.add(merkle.leaf_hash(entry) for entry in entries[tree.size - tile.first :])
            for made, data in tree.take_whole():
                self._write(made, data)
        if tree.root() != found.root:  # entries that were here count as they are here
            raise log_reader.not_its_own(found)
        for made, data in tree.take():
            self._write(made, data)

    def _write(self, tile: Tile, data: bytes) -> None:
        path = self.folder / tile.path
        if not (path.exists() and path.read_bytes() == data):
            write_atomic(path, data)
