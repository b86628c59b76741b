"""A log of millions of entries: its tiles written and audited, without a database.

Entries are made up again each time they are needed, because those of ten million would take gigabytes.
"""

from __future__ import annotations

import hashlib
from binascii import b2a_base64
from dataclasses import dataclass
from pathlib import Path

from bench.measurement import Spent, Watch
from embhub.log import leaves, merkle, tiles
from embhub.log.building import TreeBuilder
from embhub.log.leaves import Leaf
from embhub.log.tiles import WIDTH, Tile, TileReader

KEY = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004") + bytes(64)
PARSED = 20_000  # entries that are parsed as a monitor does, to know what one takes


def make_leaf(number: int) -> Leaf:
    """An entry of the usual size; its signature signs nothing."""
    return leaves.of_signature(b"entry %d" % number, signature=number.to_bytes(71, "big"), key=KEY)


@dataclass(frozen=True)
class Simulated:
    """What a log of `size` entries takes: bytes, and seconds on both clocks. `proof` is the hashes in one."""

    size: int
    entry_bytes: int
    tile_bytes: int
    tiles: int
    making: Spent
    building: Spent
    audit: Spent
    parsing: Spent
    proof: int


def simulate(folder: Path, size: int) -> Simulated:
    """Build the log in `folder`, then audit it: every entry hashed, every tile compared, the root computed."""
    if _entry(size // 3) != make_leaf(size // 3).to_bytes():
        raise RuntimeError("entries are made up otherwise than `make_leaf` does")
    making, building = Watch(), Watch()
    builder, entry_bytes = TreeBuilder(), 0
    for first in range(0, size, WIDTH):
        making.start()
        entries = _bundle(first, size)
        making.stop()
        entry_bytes += sum(2 + len(entry) for entry in entries)
        building.start()
        builder.add(map(merkle.leaf_hash, entries))
        _write(folder, [made for made in builder.take() if made[0].width == WIDTH])
        building.stop()
    _write(folder, builder.take())
    held = [tile for tile in tiles.all_of(size) if tile.level is not None]
    tile_bytes = sum((folder / tile.path).stat().st_size for tile in held)
    reader = TileReader(size, lambda tile: (folder / tile.path).read_bytes())
    proof = merkle.inclusion_proof(size // 3, size, reader.node)
    merkle.check_inclusion(merkle.leaf_hash(make_leaf(size // 3).to_bytes()), size // 3, size, builder.root(), proof)
    return Simulated(
        size, entry_bytes, tile_bytes, len(held), making.spent, building.spent,
        _audit(folder, size, builder.root()), _parse(min(size, PARSED)), len(proof),
    )  # fmt: skip


def _write(folder: Path, made: list[tuple[Tile, bytes]]) -> None:
    for tile, data in made:
        path = folder / tile.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def _audit(folder: Path, size: int, root: bytes) -> Spent:
    """As `embhub log verify` of a folder, but that entries are made again and not read, which is not counted."""
    watch, builder = Watch(), TreeBuilder()
    for first in range(0, size, WIDTH):
        entries = _bundle(first, size)
        watch.start()
        builder.add(map(merkle.leaf_hash, entries))
        for tile, data in builder.take():
            if tile.width == WIDTH and (folder / tile.path).read_bytes() != data:
                raise RuntimeError(f"{tile.path} is not what the entries give")
        watch.stop()
    watch.start()
    for tile, data in builder.take():
        if (folder / tile.path).read_bytes() != data:
            raise RuntimeError(f"{tile.path} is not what the entries give")
    if builder.root() != root:
        raise RuntimeError("the entries give another root")
    return watch.stop()


def _bundle(first: int, size: int) -> list[bytes]:
    """Entries as `make_leaf` gives them, put together from one of them: canonical JSON takes longer than the tree."""
    return [_entry(number) for number in range(first, min(first + WIDTH, size))]


def _entry(number: int) -> bytes:
    digest = b2a_base64(hashlib.sha256(b"entry %d" % number).digest(), newline=False)
    return _PARTS[0] + digest + _PARTS[1] + b2a_base64(number.to_bytes(71, "big"), newline=False) + _PARTS[2]


def _parts() -> tuple[bytes, bytes, bytes]:
    """What every entry has before, between and after its digest and its signature."""
    leaf = make_leaf(0)
    before, _, rest = leaf.to_bytes().partition(b2a_base64(leaf.digest, newline=False))
    between, _, after = rest.partition(b2a_base64(leaf.signature, newline=False))
    return before, between, after


_PARTS = _parts()


def _parse(count: int) -> Spent:
    entries = [make_leaf(number).to_bytes() for number in range(count)]
    watch = Watch()
    watch.start()
    for entry in entries:
        leaves.parse(entry)
    return watch.stop() / count
