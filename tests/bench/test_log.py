"""The simulated log of `bench.log_simulation` is a log: its tiles, its root, and an audit that sees a changed tile."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.log_simulation import _audit, make_leaf, simulate
from embhub.log import merkle, tiles


def test_a_simulated_log_is_one_and_its_audit_sees_a_change(tmp_path: Path) -> None:
    found = simulate(tmp_path, 600)
    hashes = [merkle.leaf_hash(make_leaf(number).to_bytes()) for number in range(600)]
    held = [tile for tile in tiles.all_of(600) if tile.level is not None]
    assert found.tiles == len(held) == 4 and found.tile_bytes == (600 + 2) * 32
    assert found.entry_bytes == sum(2 + len(make_leaf(number).to_bytes()) for number in range(600))
    _audit(tmp_path, 600, merkle.root_of(hashes))
    with pytest.raises(RuntimeError, match="another root"):
        _audit(tmp_path, 600, merkle.root_of(hashes[:599]))
    path = tmp_path / "tile/0/001"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(RuntimeError, match="tile/0/001"):
        _audit(tmp_path, 600, merkle.root_of(hashes))
