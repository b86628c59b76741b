"""Proofs from a log's tiles, each read once: what a look at a log compares with what this site remembers."""

from __future__ import annotations

from collections.abc import Sequence

from embhub.client.log import log_reader
from embhub.client.log.log_reader import LogSource
from embhub.log import merkle
from embhub.log.tiles import TileReader


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
            self._readers[size] = TileReader(size, lambda tile: log_reader.read_tile(self._source, tile))
        return self._readers[size].node
