"""The transparency log of a registry: signing what was added, and proofs of what is in it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial

from embhub.errors import EmbhubError
from embhub.log import merkle, notes, proofs, tiles
from embhub.log.building import TreeBuilder
from embhub.log.notes import NoteSigner, VerifierKey
from embhub.log.proofs import LogProof
from embhub.log.tiles import Tile, TileReader
from embhub.trust.origin import origin_of
from embhub_registry.database.clock import now, stamp
from embhub_registry.database.logs import log_rows
from embhub_registry.storage.folder import Registry
from embhub_registry.storage.log import log_publishing
from embhub_registry.storage.log.log_files import LogFiles
from embhub_registry.storage.log.log_publishing import TermOverError

SIGNED_WITHIN = 2.0  # seconds that a server waits for the one that signs
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
    term = registry.leadership.term if registry.leadership else None
    if registry.is_shared:
        if term is None:
            return False
        follow(registry)  # what an earlier sequencer signed
    state = registry.private_keys.log_state
    second = second_key_of(registry)
    try:
        return log_publishing.publish(
            registry.database, files_of(registry), key=key, second=second, state=state, term=term
        )
    except TermOverError:
        if registry.leadership is not None:
            registry.leadership.resign()
        raise


def publish_if_possible(registry: Registry) -> None:
    """`publish` after something that is stored already; the server tries again within seconds.

    Where another server signs, it is woken. A server waits for its signature, for a moment.
    """
    with contextlib.suppress(EmbhubError, OSError):
        if not registry.is_shared or (registry.runs_maintenance and registry.leadership is not None):
            publish(registry)
            return
        registry.database.wake_sequencer()
        db, until = registry.database.connection(), time.monotonic() + SIGNED_WITHIN
        size = log_rows.size(db)
        while registry.leadership is not None and time.monotonic() < until:
            newest = log_rows.newest(db)
            if newest is not None and newest.size >= size:
                return
            time.sleep(0.02)


def may_sign(registry: Registry) -> bool:
    """Whether this server can be the one that signs: it has the log's key, or the keyring names none."""
    if not registry.has_keyring:
        return True
    return registry.trust().keyring.log_key is None or key_of(registry) is not None


def follow(registry: Registry) -> None:
    """Bring the files up to what another server signed; where there is one server, they are.

    Raises:
        ConfigError: the folder cannot be written, or the tree does not continue the one that this server knew.
    """
    if not registry.is_shared:
        return
    signed = log_rows.newest(registry.database.connection())
    if signed is not None:
        state = registry.private_keys.log_state
        log_publishing.follow(registry.database, files_of(registry), signed, key=key_of(registry), state=state)


def newest_checkpoint(registry: Registry) -> bytes | None:
    """The newest signed checkpoint, with the cosignatures that came in."""
    if not registry.is_shared:
        return files_of(registry).checkpoint()
    signed = log_rows.newest(registry.database.connection())
    return signed.note if signed is not None else None


def read_tile(registry: Registry, tile: Tile) -> bytes:
    """A tile of a signed tree, made here if another server signed it.

    Raises:
        FileNotFoundError: there is none. MalformedLogError: it is damaged.
    """
    try:
        return files_of(registry).read(tile)
    except FileNotFoundError:
        if not registry.is_shared:
            raise
    follow(registry)
    return files_of(registry).read(tile)


def prove(registry: Registry, hashed: bytes) -> LogProof | None:
    """The proof that the entry with this leaf hash is in the log, to the checkpoint that most witnesses cosigned.

    None where no entry of this hash is in a signed checkpoint.
    """
    db = registry.database.connection()
    index = log_rows.find(db, hashed)
    newest = log_rows.newest(db)
    if index is None or newest is None or index >= newest.size:
        return None
    follow(registry)
    chosen = log_rows.best(db, above=index, since=stamp(now() - WITNESSED_WITHIN)) or newest
    if not all(notes.parse(chosen.note).by(key) for key in _named(registry)):  # the log has another key since
        chosen = newest
    reader = TileReader(newest.size, files_of(registry).read)
    path = merkle.inclusion_proof(index, chosen.size, reader.node)
    return proofs.make(index, path, notes.parse(chosen.note))


def repair(registry: Registry) -> int:
    """Write the files of the log again that are missing or damaged; how many entries they hold.

    Raises:
        ConfigError: the folder cannot be written, the database holds another tree than was signed, or an entry is
            damaged in the database and in its bundle.
    """
    signed = log_rows.newest(registry.database.connection())
    if signed is None:
        return 0
    log_publishing.rewrite(registry.database, files_of(registry), signed)
    return signed.size


def problems(registry: Registry) -> list[str]:
    """What is wrong with the log: entries are not those of the signed tree, an entry or file is damaged or missing."""
    signed = log_rows.newest(registry.database.connection())
    if signed is None:
        return []
    follow(registry)
    db, files = registry.database.connection(), files_of(registry)
    builder, found = TreeBuilder(), list[str]()
    for number in range((signed.size + tiles.WIDTH - 1) // tiles.WIDTH):
        first = number * tiles.WIDTH
        rows = list(log_rows.entries(db, first, min(first + tiles.WIDTH, signed.size)))
        hashes = [hashed for _, hashed in rows]
        damaged = [place for place, (leaf, hashed) in enumerate(rows, first) if merkle.leaf_hash(leaf) != hashed]
        found += [f"log: entry {place} is damaged in the database: restore a backup of it" for place in damaged]
        builder.add(hashes)
        bundle = Tile(None, number, len(hashes))
        found += _damaged(files, bundle, partial(_entries_fit, hashes))
        for tile, expected in builder.take_whole():
            found += _damaged(files, tile, expected.__eq__)
    if builder.size != signed.size or builder.root() != signed.root:
        return ["log: the database holds other entries than were signed"]
    for tile, expected in builder.take():
        found += _damaged(files, tile, expected.__eq__)
    return found


def _damaged(files: LogFiles, tile: Tile, fits: Callable[[bytes], bool]) -> list[str]:
    try:
        good = fits(files.read(tile))
    except (OSError, EmbhubError):
        good = False
    return [] if good else [f"log: {tile.path} is missing or damaged; `log repair` writes it again"]


def _entries_fit(hashes: list[bytes], data: bytes) -> bool:
    return [merkle.leaf_hash(entry) for entry in tiles.split_entries(data, len(hashes))] == hashes
