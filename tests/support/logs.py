"""A registry's log read as a stranger would: from its files, checked from nothing."""

from __future__ import annotations

from pathlib import Path

from embhub.log import checkpoints, leaves, merkle, tiles
from embhub.log.checkpoints import SignedCheckpoint
from embhub.log.leaves import Leaf
from embhub.log.notes import VerifierKey
from tests.support import releases


def audit(folder: Path, key: VerifierKey) -> tuple[SignedCheckpoint, list[bytes]]:
    """The checkpoint and all entries, after every tile that a log of this size needs was computed again."""
    signed = checkpoints.open_signed((folder / "checkpoint").read_bytes(), log=key)
    entries: list[bytes] = []
    for tile in tiles.all_of(signed.size):
        if tile.level is None:
            entries += tiles.split_entries((folder / tile.path).read_bytes(), tile.width)
    hashes = [merkle.leaf_hash(entry) for entry in entries]
    assert len(entries) == signed.size and merkle.root_of(hashes) == signed.root
    for tile in tiles.all_of(signed.size):
        if tile.level is not None:
            span = tiles.WIDTH**tile.level
            places = range(tile.first, tile.first + tile.width)
            rows = [merkle.root_of(hashes[place * span : (place + 1) * span]) for place in places]
            assert (folder / tile.path).read_bytes() == b"".join(rows), tile.path
    return signed, entries


def make_leaf(number: int) -> Leaf:
    """An entry unlike any other; its signature is of the right size and of nothing."""
    from embhub.trust import logged

    key = logged._der(releases.SITE.public)
    return leaves.of_signature(b"entry %d" % number, signature=number.to_bytes(70, "big"), key=key)
