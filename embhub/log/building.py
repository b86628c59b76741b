"""A tree that grows, and the tiles that it needs: only those at its right edge change, all others are final."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from embhub.log import merkle, tiles
from embhub.log.tiles import WIDTH, Tile


class TreeBuilder:
    """A tree of leaf hashes. It holds one unfinished tile a level, whatever its size."""

    def __init__(self) -> None:
        self.size = 0
        self._edge: list[list[bytes]] = [[]]
        self._made: list[tuple[Tile, bytes]] = []

    @classmethod
    def resume(cls, size: int, read: Callable[[Tile], bytes]) -> TreeBuilder:
        """The tree of `size` leaves from its unfinished tiles.

        Raises:
            MalformedLogError: a tile has another size. What `read` raises.
        """
        builder = cls()
        builder.size, level = size, 0
        builder._edge = []
        while size // WIDTH**level:
            width = size // WIDTH**level % WIDTH
            number = size // WIDTH ** (level + 1)
            builder._edge.append(tiles.split_hashes(read(Tile(level, number, width)), width) if width else [])
            level += 1
        builder._edge = builder._edge or [[]]
        return builder

    def add(self, leaves: Iterable[bytes]) -> None:
        """Append leaf hashes."""
        for hashed in leaves:
            self._add(0, hashed)
            self.size += 1

    def aligned(self) -> TreeBuilder:
        """The same tree without its leaves after the last whole tile, to go on with `add_tile`."""
        builder = TreeBuilder()
        builder._edge = [[], *(list(row) for row in self._edge[1:])]
        builder.size = self.size - len(self._edge[0])
        return builder

    def add_tile(self, root: bytes) -> None:
        """Append a whole tile of leaves by the hash over them.

        Raises:
            ValueError: there are leaves after the last whole tile.
        """
        if self._edge[0]:
            raise ValueError("the tree does not end with a whole tile")
        if len(self._edge) == 1:
            self._edge.append([])
        self.size += WIDTH - 1  # `_add` counts the leaf that it is called for
        self._add(1, root)
        self.size += 1

    def _add(self, level: int, hashed: bytes) -> None:
        if level == len(self._edge):
            self._edge.append([])
        row = self._edge[level]
        row.append(hashed)
        if len(row) == WIDTH:
            number = (self.size + 1) // WIDTH ** (level + 1) - 1
            self._made.append((Tile(level, number), b"".join(row)))
            self._edge[level] = []
            self._add(level + 1, merkle.root_of(row))

    def take_whole(self) -> list[tuple[Tile, bytes]]:
        """The tiles that were finished since the last call. Who reads a long log calls it on the way: they are held."""
        made, self._made = self._made, []
        return made

    def take(self) -> list[tuple[Tile, bytes]]:
        """The tiles that were finished since the last call, and those that are not finished yet."""
        made = self.take_whole()
        for level, row in enumerate(self._edge):
            if row:
                made.append((Tile(level, self.size // WIDTH ** (level + 1), len(row)), b"".join(row)))
        return made

    def root(self) -> bytes:
        """The root over all of its leaves."""
        peaks = []
        for row in reversed(self._edge):
            place = 0
            while place < len(row):
                step = 1 << ((len(row) - place).bit_length() - 1)
                peaks.append(merkle.root_of(row[place : place + step]))
                place += step
        return merkle.fold(peaks)
