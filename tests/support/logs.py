"""A registry's log read as a stranger would: from its files, checked from nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from embhub.log import checkpoints, merkle, notes, proofs, tiles
from embhub.log.checkpoints import Checkpoint, SignedCheckpoint
from embhub.log.leaves import Leaf
from embhub.log.notes import NoteSigner, VerifierKey
from embhub.log.proofs import LogProof
from embhub.trust import logged
from embhub.trust.dsse import Envelope
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
    signed = Envelope(b"%d" % number, "text/plain", number.to_bytes(70, "big"), "")
    return logged.leaf_of(signed, releases.SITE.public)


def leaf_name(entry: bytes) -> str:
    """The name under which `/log/proof` has an entry."""
    return merkle.leaf_hash(entry).hex()


@dataclass
class MemoryLog:
    """A log in memory, as honest as a test wants it: `changed` are files that are served in place of the true ones."""

    entries: list[bytes]
    key: NoteSigner
    witnesses: Sequence[NoteSigner] = ()
    time: int = 1_795_000_000
    size: int | None = None
    second: NoteSigner | None = None
    changed: dict[str, bytes | None] = field(default_factory=dict)

    def checkpoint(self) -> SignedCheckpoint:
        """The checkpoint over the first `size` entries, by default all, cosigned."""
        size = len(self.entries) if self.size is None else self.size
        root = merkle.root_of(map(merkle.leaf_hash, self.entries[:size]))
        signed = checkpoints.sign(Checkpoint(self.key.public.name, size, root), by=self.key, also=self.second)
        lines = [checkpoints.cosign(signed.checkpoint, by=witness, time=self.time) for witness in self.witnesses]
        return SignedCheckpoint(signed.checkpoint, signed.note.with_signatures(lines))

    def proof_of(self, index: int) -> LogProof:
        signed = self.checkpoint()
        return proofs.make(index, merkle.inclusion_proof(index, signed.size, self.node), signed.note)

    def node(self, level: int, index: int) -> bytes:
        leaves_below = self.entries[index << level : (index + 1) << level]
        assert len(leaves_below) == 1 << level, "a log knows no hash of entries that it does not have"
        return merkle.root_of(map(merkle.leaf_hash, leaves_below))

    def read(self, name: str, *, limit: int) -> bytes | None:
        """As `embhub.client.log.log_reader.LogSource`."""
        if name in self.changed:
            return self.changed[name]
        if name == "checkpoint":
            return self.checkpoint().to_bytes()
        if name.startswith("proof/"):
            hashes = [merkle.leaf_hash(entry).hex() for entry in self.entries[: self.checkpoint().size]]
            wanted = name.removeprefix("proof/")
            return self.proof_of(hashes.index(wanted)).to_bytes() if wanted in hashes else None
        tile = tiles.parse_path(name)
        if (tile.first + tile.width) << 8 * (tile.level or 0) > len(self.entries):
            return None
        if tile.level is None:
            return tiles.join_entries(self.entries[tile.first : tile.first + tile.width])
        return b"".join(self.node(8 * tile.level, tile.first + step) for step in range(tile.width))


def log_key(name: str = "127.0.0.1", seed: int = 1) -> NoteSigner:
    """A log's key; the name is that of the registry of `releases`."""
    return notes.signer(Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32), name)


def witness_key(name: str = "witness.example.org", seed: int = 2) -> NoteSigner:
    """A witness's key."""
    return notes.signer(Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32), name, kind=notes.COSIGNATURE)


def mldsa_key(name: str = "127.0.0.1", seed: int = 4) -> NoteSigner:
    """A log's second key, or a witness's."""
    return notes.signer(MLDSA44PrivateKey.from_seed_bytes(bytes([seed]) * 32), name, kind=notes.MLDSA44)
