"""The transparency log of a registry: signing what was added, and proofs of what is in it."""

from __future__ import annotations

import contextlib
from datetime import timedelta

from embhub.errors import EmbhubError
from embhub.log import merkle, notes, proofs, tiles
from embhub.log.notes import NoteSigner, VerifierKey
from embhub.log.proofs import LogProof
from embhub.log.tiles import Tile, TileReader
from embhub.trust.origin import origin_of
from embhub_registry.database import log_rows
from embhub_registry.database.clock import now, stamp
from embhub_registry.storage import log_publishing
from embhub_registry.storage.folder import Registry
from embhub_registry.storage.log_files import LogFiles

WITNESSED_WITHIN = timedelta(days=1)  # so long an earlier checkpoint with more witnesses is preferred


def files_of(registry: Registry) -> LogFiles:
    """The folder of tiles."""
    return LogFiles(registry.folder)


def key_of(registry: Registry) -> NoteSigner | None:
    """The log's key on this machine, if it is the one that the keyring names."""
    if not registry.has_keyring:
        return None
    named, key = registry.trust().keyring.log_key, registry.private_keys.log_key(origin_of(registry.setting("url")))
    return key if key is not None and key.public == named else None


def second_key_of(registry: Registry) -> NoteSigner | None:
    """The log's ML-DSA-44 key on this machine, if it is the one that the keyring names."""
    named = registry.trust().keyring.log_mldsa_key
    key = registry.private_keys.log_mldsa_key(named.name) if named else None
    return key if key is not None and key.public == named else None


def _named(registry: Registry) -> list[VerifierKey]:
    keyring = registry.trust().keyring if registry.has_keyring else None
    return [key for key in (keyring.log_key, keyring.log_mldsa_key) if key] if keyring else []


def publish(registry: Registry) -> bool:
    """Sign the entries that were added, where the key is on this machine; whether something was signed.

    Raises:
        ConfigError: the folder cannot be written, or the log is not the one that its key signed before.
    """
    key = key_of(registry)
    if key is None:
        return False
    state = registry.private_keys.log_state
    second = second_key_of(registry)
    return log_publishing.publish(registry.database, files_of(registry), key=key, second=second, state=state)


def publish_if_possible(registry: Registry) -> None:
    """`publish` after something that is stored already; the server tries again within seconds."""
    with contextlib.suppress(EmbhubError, OSError):
        publish(registry)


def prove(registry: Registry, hashed: bytes) -> LogProof | None:
    """The proof that the entry with this leaf hash is in the log, to the checkpoint that most witnesses cosigned.

    None where no entry of this hash is in a signed checkpoint.
    """
    db = registry.database.connection()
    index = log_rows.find(db, hashed)
    newest = log_rows.newest(db)
    if index is None or newest is None or index >= newest.size:
        return None
    chosen = log_rows.best(db, above=index, since=stamp(now() - WITNESSED_WITHIN)) or newest
    if not all(notes.parse(chosen.note).by(key) for key in _named(registry)):  # the log has another key since
        chosen = newest
    reader = TileReader(newest.size, files_of(registry).read)
    path = merkle.inclusion_proof(index, chosen.size, reader.node)
    return proofs.make(index, path, notes.parse(chosen.note))


def repair(registry: Registry) -> int:
    """Write the files of the log again that are missing or damaged; how many entries they hold.

    Raises:
        ConfigError: the folder cannot be written, or the database holds another tree than was signed.
    """
    signed = log_rows.newest(registry.database.connection())
    if signed is None:
        return 0
    log_publishing.rewrite(registry.database, files_of(registry), signed)
    return signed.size


def problems(registry: Registry) -> list[str]:
    """What is wrong with the log: its entries are not those of the signed tree, or a file is missing or damaged."""
    signed = log_rows.newest(registry.database.connection())
    if signed is None:
        return []
    db, files = registry.database.connection(), files_of(registry)
    hashes = [hashed for _, hashed in log_rows.entries(db, 0, signed.size)]
    if merkle.root_of(hashes) != signed.root:
        return ["log: the database holds other entries than were signed"]
    found = []
    for tile in tiles.all_of(signed.size):
        try:
            data = files.read(tile)
            good = _entries_fit(data, tile, hashes) if tile.level is None else _hashes_fit(data, tile, hashes)
        except (OSError, EmbhubError):
            good = False
        if not good:
            found.append(f"log: {tile.path} is missing or damaged; `log repair` writes it again")
    return found


def _entries_fit(data: bytes, tile: Tile, hashes: list[bytes]) -> bool:
    entries = tiles.split_entries(data, tile.width)
    return [merkle.leaf_hash(entry) for entry in entries] == hashes[tile.first : tile.first + tile.width]


def _hashes_fit(data: bytes, tile: Tile, hashes: list[bytes]) -> bool:
    span = tiles.WIDTH ** (tile.level or 0)
    places = range(tile.first, tile.first + tile.width)
    return data == b"".join(merkle.root_of(hashes[place * span : (place + 1) * span]) for place in places)
