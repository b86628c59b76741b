"""Proofs that are made from tiles alone, of trees that grew in steps, against trees built at once."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embhub.log import building, merkle, tiles
from embhub.log.errors import MalformedLogError
from tests.support.quick import examples

HASHES = [merkle.leaf_hash(b"%d" % number) for number in range(2_000)]
FEW = settings(max_examples=examples(25), deadline=None)


def grown(steps: list[int]) -> tuple[dict[str, bytes], building.TreeBuilder]:
    files: dict[str, bytes] = {}
    builder = building.TreeBuilder()
    for step in steps:
        builder = building.TreeBuilder.resume(builder.size, lambda tile: files[tile.path])  # as after a restart
        builder.add(HASHES[builder.size : builder.size + step])
        for tile, data in builder.take():
            assert files.setdefault(tile.path, data) == data, "a tile that was handed out never changes"
    return files, builder


@given(st.lists(st.integers(0, 400), min_size=1, max_size=5), st.data())
@FEW
def test_proofs_from_tiles_hold(steps: list[int], data: st.DataObject) -> None:
    files, builder = grown(steps)
    size = builder.size
    assert builder.root() == merkle.root_of(HASHES[:size])
    assert {tile.path for tile in tiles.all_of(size) if tile.level is not None} <= files.keys()
    if size == 0:
        return
    reader = tiles.TileReader(size, lambda tile: files[tile.path])
    index, first = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, size))
    proof = merkle.inclusion_proof(index, size, reader.node)
    merkle.check_inclusion(HASHES[index], index, size, builder.root(), proof)
    steps_between = merkle.consistency_proof(first, size, reader.node)
    merkle.check_consistency(first, size, merkle.root_of(HASHES[:first]), builder.root(), steps_between)
    assert merkle.root_at(size, reader.node) == builder.root()


def test_a_tree_of_three_levels() -> None:
    builder = building.TreeBuilder()
    builder.add(merkle.leaf_hash(b"%d" % number) for number in range(65_536 + 300))
    made = {tile.path: data for tile, data in builder.take()}
    assert {tile.path for tile in tiles.all_of(builder.size) if tile.level is not None} == made.keys()
    reader = tiles.TileReader(builder.size, lambda tile: made[tile.path])
    assert merkle.root_at(builder.size, reader.node) == builder.root()
    proof = merkle.inclusion_proof(65_000, builder.size, reader.node)
    merkle.check_inclusion(merkle.leaf_hash(b"65000"), 65_000, builder.size, builder.root(), proof)


def test_a_tile_of_another_size_is_refused() -> None:
    reader = tiles.TileReader(300, lambda tile: b"x" * 31)
    with pytest.raises(MalformedLogError):
        merkle.root_at(300, reader.node)
    with pytest.raises(MalformedLogError, match="none at this place"):
        tiles.TileReader(300, lambda tile: bytes(tile.width * 32)).node(0, 600)
