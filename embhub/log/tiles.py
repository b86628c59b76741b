"""Tiles of a log, as of C2SP tlog-tiles: 256 hashes a file, addressed by level and number, whole or partial.

Every proof can be made from them, so a log is a folder of files that any web server or cache can hand out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from embhub.log import merkle
from embhub.log.errors import malformed

HEIGHT = 8
WIDTH = 1 << HEIGHT
LONGEST_ENTRY = 0xFFFF
LARGEST = WIDTH * merkle.HASH
LARGEST_BUNDLE = WIDTH * (2 + LONGEST_ENTRY)
ENTRIES = "entries"
_PATH = re.compile(r"tile/(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")


@dataclass(frozen=True)
class Tile:
    """The address of a tile: `level` is None for a bundle of entries; `width` is 256 where it is whole."""

    level: int | None
    number: int
    width: int = WIDTH

    @property
    def path(self) -> str:
        """Such as `tile/0/x001/234` or `tile/entries/000.p/17`."""
        digits, parts = self.number, list[str]()
        while True:
            parts.append(f"{digits % 1000:03d}")
            digits //= 1000
            if digits == 0:
                break
        name = "/".join([f"x{part}" for part in parts[:0:-1]] + parts[:1])
        end = "" if self.width == WIDTH else f".p/{self.width}"
        return f"tile/{ENTRIES if self.level is None else self.level}/{name}{end}"

    @property
    def first(self) -> int:
        """Index of the first hash at its level."""
        return self.number * WIDTH


def parse_path(path: str) -> Tile:
    """The tile at this address.

    Raises:
        MalformedLogError: not an address in its one canonical form.
    """
    found = _PATH.fullmatch(path)
    if found is None:
        raise malformed("tile's address", "it is not of the form tile/LEVEL/NUMBER")
    number = int(found[2].replace("x", "").replace("/", ""))
    level = None if found[1] == ENTRIES else int(found[1])
    width = int(found[3]) if found[3] else WIDTH
    tile = Tile(level, number, width)
    if tile.path != path or (found[3] and width >= WIDTH) or (level is not None and level > 63):
        raise malformed("tile's address", "it is not canonical")
    return tile


def needed(level: int | None, number: int, size: int) -> Tile | None:
    """The tile of this number as a log of `size` entries has it; None where it has none."""
    width = min(size // WIDTH ** (level or 0) - number * WIDTH, WIDTH)
    return Tile(level, number, width) if width > 0 else None


def all_of(size: int) -> Iterator[Tile]:
    """Every tile of hashes and every bundle of entries of a log of `size` entries."""
    for level in (None, *range(HEIGHT)):
        for number in range((size // WIDTH ** (level or 0) + WIDTH - 1) // WIDTH):
            if (tile := needed(level, number, size)) is not None:
                yield tile


def split_hashes(data: bytes, width: int) -> list[bytes]:
    """The hashes in a tile.

    Raises:
        MalformedLogError: it has another size.
    """
    if len(data) != width * merkle.HASH:
        raise malformed("tile", f"it has {len(data)} bytes, {width * merkle.HASH} are expected")
    return [data[place : place + merkle.HASH] for place in range(0, len(data), merkle.HASH)]


def join_entries(entries: Sequence[bytes]) -> bytes:
    """A bundle of entries, each after its length in two bytes.

    Raises:
        ValueError: an entry is longer than 65,535 bytes.
    """
    if any(len(entry) > LONGEST_ENTRY for entry in entries):
        raise ValueError("an entry of a log has at most 65,535 bytes")
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def split_entries(data: bytes, width: int) -> list[bytes]:
    """The entries in a bundle.

    Raises:
        MalformedLogError: it holds another number of them, or bytes beside them.
    """
    entries, place = list[bytes](), 0
    while place < len(data):
        start = place + 2
        place = start + int.from_bytes(data[place:start], "big")
        if start > len(data) or place > len(data):
            raise malformed("bundle of entries", "it ends within an entry")
        entries.append(data[start:place])
        if len(entries) > width:
            break
    if len(entries) != width:
        raise malformed("bundle of entries", f"it does not hold {width} entries")
    return entries


def narrow(data: bytes, tile: Tile, width: int = WIDTH) -> bytes:
    """What a tile that is not whole holds, from the one of `width` that took its place, by default the whole one.

    Raises:
        MalformedLogError: the wider one is damaged.
    """
    if tile.level is None:
        return join_entries(split_entries(data, width)[: tile.width])
    return b"".join(split_hashes(data, width)[: tile.width])


class TileReader:
    """Hashes of a log of `size` entries from its tiles, each read once; pass `node` to the functions of `merkle`.

    What it returns is as good as its source: a proof made from it is checked against a signed root.
    """

    def __init__(self, size: int, read: Callable[[Tile], bytes]) -> None:
        self.size = size
        self._read = read
        self._held: dict[tuple[int, int], list[bytes]] = {}

    def node(self, level: int, index: int) -> bytes:
        """The hash over `2**level` leaves. Raises MalformedLogError."""
        up, within = divmod(level, HEIGHT)
        first = index << within
        hashes = self._tile(up, first // WIDTH)
        start = first % WIDTH
        wanted = hashes[start : start + (1 << within)]
        if len(wanted) != 1 << within:
            raise malformed("tile", "it is too narrow for this tree")
        return merkle.root_of(wanted)

    def _tile(self, level: int, number: int) -> list[bytes]:
        if (level, number) not in self._held:
            tile = needed(level, number, self.size)
            if tile is None:
                raise malformed("tile", "the tree has none at this place")
            self._held[level, number] = split_hashes(self._read(tile), tile.width)
        return self._held[level, number]
