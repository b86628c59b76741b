"""The log's folder: tiles and the checkpoint as plain files under the addresses that they are served at.

A file is written once and never changed, but for `checkpoint`. All of it follows from the database, and is made again
where it is missing. An entry is compared with its hash before it is written.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from embhub.durable import write_atomic
from embhub.errors import ConfigError
from embhub.log import merkle, tiles
from embhub.log.building import TreeBuilder
from embhub.log.errors import MalformedLogError
from embhub.log.tiles import WIDTH, Tile
from embhub_registry.database import Connection
from embhub_registry.database.logs import log_rows

FOLDER = "log"
CHECKPOINT = "checkpoint"


class LogFiles:
    """The folder `log` of a registry."""

    def __init__(self, registry: Path) -> None:
        self.folder = registry / FOLDER

    def read(self, tile: Tile) -> bytes:
        """A tile or bundle; a part of one is taken from a wider one, where that is there by now.

        A server that follows another skips sizes that were signed meanwhile, and never has the parts of those.

        Raises:
            FileNotFoundError: it is not there. MalformedLogError: it is damaged.
        """
        try:
            return (self.folder / tile.path).read_bytes()
        except FileNotFoundError:
            if tile.width == WIDTH:
                raise
        wider = Tile(tile.level, tile.number, min(self._wider_parts(tile), default=WIDTH))
        return tiles.narrow((self.folder / wider.path).read_bytes(), tile, wider.width)

    def _wider_parts(self, tile: Tile) -> list[int]:
        """Widths of wider parts of a tile that are here."""
        names = [path.name for path in (self.folder / tile.path).parent.glob("*")]
        return [int(name) for name in names if name.isdecimal() and int(name) > tile.width]

    def checkpoint(self) -> bytes | None:
        """What is served as the newest checkpoint."""
        path = self.folder / CHECKPOINT
        return path.read_bytes() if path.exists() else None

    def set_checkpoint(self, note: bytes) -> None:
        """Serve this one from now on. Raises ConfigError."""
        write_atomic(self.folder / CHECKPOINT, note)

    def grow(self, db: Connection, builder: TreeBuilder, size: int) -> None:
        """Add the entries up to `size` to the tree, and write what changes; durable when it returns.

        Raises:
            ConfigError: the folder cannot be written, or an entry is damaged in the database and in its bundle.
        """
        first = builder.size
        for number in range(first // WIDTH, (size + WIDTH - 1) // WIDTH):
            rows = list(log_rows.entries(db, number * WIDTH, min((number + 1) * WIDTH, size)))
            entries = [self._whole_entry(place, *row) for place, row in enumerate(rows, number * WIDTH)]
            builder.add(hashed for place, (_, hashed) in enumerate(rows, number * WIDTH) if place >= first)
            self._write([(Tile(None, number, len(rows)), tiles.join_entries(entries))])
            if len(rows) == WIDTH:
                self._write(builder.take_whole())
        self._write(builder.take())

    def _whole_entry(self, place: int, leaf: bytes, hashed: bytes) -> bytes:
        """An entry as the database has it; where it is damaged there, as its bundle has it so far."""
        if merkle.leaf_hash(leaf) == hashed:
            return leaf
        number, before = divmod(place, WIDTH)
        with contextlib.suppress(OSError, MalformedLogError):
            held = tiles.split_entries(self.read(Tile(None, number, before + 1)), before + 1)[before]
            if merkle.leaf_hash(held) == hashed:
                return held
        raise ConfigError(
            f"the log's entry {place} is damaged in the database, and in its bundle; the bundle was left as it is",
            "restore a backup of the registry; see docs/how-to/back-up-a-registry.md",
        )

    def resume(self, size: int, root: bytes) -> TreeBuilder | None:
        """The tree of `size` entries from its files; None where these are missing or damaged."""
        try:
            builder = TreeBuilder.resume(size, self.read)
        except (OSError, MalformedLogError):
            return None
        return builder if builder.root() == root else None

    def strangers(self, size: int) -> Iterator[Path]:
        """Files that no log of this size has."""
        for path in sorted(self.folder.rglob("*")):
            name = path.relative_to(self.folder).as_posix()
            if path.is_dir() or name in (CHECKPOINT, "checkpoint.lock"):
                continue
            try:
                tile = tiles.parse_path(name)
            except MalformedLogError:
                yield path
                continue
            held = tiles.needed(tile.level, tile.number, size)
            if held is None or held.width < tile.width:
                yield path

    def _write(self, made: Iterable[tuple[Tile, bytes]]) -> None:
        for tile, data in made:
            write_atomic(self.folder / tile.path, data)
            if tile.width == WIDTH:
                shutil.rmtree(self.folder / f"{tile.path}.p", ignore_errors=True)
