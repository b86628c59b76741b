"""Whether an increment's log continues the log of the export: each of its files is the one under its checkpoint.

Whole tiles and bundles that the export has stay as they are, and are not read again. If an increment has others in
their place, the whole log is checked: they are taken only if those of the export are not what was signed.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from embhub.client.log import log_reader
from embhub.client.log.log_reader import FolderLog
from embhub.errors import RegistryError
from embhub.log import checkpoints, merkle, notes, tiles
from embhub.log.building import TreeBuilder
from embhub.log.checkpoints import Checkpoint, SignedCheckpoint
from embhub.log.errors import MalformedLogError
from embhub.log.notes import VerifierKey
from embhub.log.tiles import Tile
from embhub_registry.static.items import Item
from embhub_registry.static.refusing import refused

FOLDER = "log/"
CHECKPOINT = f"{FOLDER}checkpoint"


class ItemLog:
    """The log among the files of an export that is not in place yet."""

    def __init__(self, found: Mapping[str, Item]) -> None:
        self._found = found

    def read(self, name: str, *, limit: int) -> bytes | None:
        """As `log_reader.LogSource`."""
        item = self._found.get(FOLDER + name)
        if item is not None and item.size > limit:
            raise RegistryError(f"{FOLDER}{name} has more than {limit:,} bytes", "it is no file of a log")
        return None if item is None else item.read()


def check(found: Mapping[str, Item], folder: Path, key: VerifierKey | None, listed: Mapping[str, str]) -> None:
    """Refuse a log that does not continue the one in `folder`, or has files that are not under its checkpoint.

    Args:
        found: all files of the export as it would be, by path.
        key: the log's by the keyring of the export; None where there is none, and no signature is looked at.
        listed: digest by path of what the export has.

    Raises:
        UsageError: an older log, none at all, a file that is missing, damaged, or not of this log.
        ForkedLogError: another history. LogError: a checkpoint that the key did not sign.
    """
    source, before = ItemLog(found), _before(folder)
    data = log_reader.checkpoint(source)
    if data is None:
        if before is not None:
            raise refused("it takes the log away")
        if any(path.startswith(FOLDER) for path in found):
            raise refused("it has files of a log and no checkpoint")
        return
    after = checkpoints.open_signed(data, log=key) if key is not None else _unverified(data)
    if before is not None and after.size < before.size:
        raise refused(f"its log has {after.size:,} entries, and that of the export {before.size:,}: it is older")
    _check_names(found, after.size)
    try:
        _check_files(found, source, after, _held(found, folder, before, listed))
        if before is not None:
            longer = after.size > before.size
            proof = log_reader.prove_consistency(source, before.size, after.size) if longer else ()
            merkle.check_consistency(before.size, after.size, before.root, after.root, proof)
    except (MalformedLogError, RegistryError) as error:
        raise refused(error.message) from error


def _before(folder: Path) -> Checkpoint | None:
    kept = folder / CHECKPOINT
    return checkpoints.parse(notes.parse(kept.read_bytes())) if kept.is_file() else None


def _unverified(data: bytes) -> SignedCheckpoint:
    note = notes.parse(data)
    return SignedCheckpoint(checkpoints.parse(note), note)


def _check_names(found: Mapping[str, Item], size: int) -> None:
    """There is every file that an export has of a log of this size, and no other."""
    left = {path for path in found if path.startswith(FOLDER)} - {CHECKPOINT}
    for tile in tiles.all_of(size):  # the size is anybody's: it ends at the first that is missing
        if FOLDER + tile.path not in left:
            raise refused(f"its log lacks {tile.path}")
        left.remove(FOLDER + tile.path)
    if left:
        raise refused(f"it has {min(left)}, which its log does not have")


def _held(found: Mapping[str, Item], folder: Path, before: Checkpoint | None, listed: Mapping[str, str]) -> TreeBuilder:
    """The tree over the whole bundles of the export, if all that is whole of it stays as it is; else an empty one."""
    if before is not None:
        whole = [FOLDER + tile.path for tile in tiles.all_of(before.size) if tile.width == tiles.WIDTH]
        if all(path in found and listed.get(path) == found[path].digest for path in whole):
            with contextlib.suppress(RegistryError, MalformedLogError):
                source = FolderLog(folder / FOLDER)
                tree = TreeBuilder.resume(before.size, lambda tile: log_reader.read_tile(source, tile))
                if tree.root() == before.root:
                    return tree.aligned()  # the last part is looked at again, and compared by the proof
    return TreeBuilder()


def _check_files(found: Mapping[str, Item], source: ItemLog, after: SignedCheckpoint, tree: TreeBuilder) -> None:
    """The bundles that come after `tree`, and the tiles over them."""
    for _, entries in log_reader.checked_bundles(source, tree, after):
        tree.add(map(merkle.leaf_hash, entries))
        _compare(found, tree.take_whole(), after)
    _compare(found, tree.take(), after)


def _compare(found: Mapping[str, Item], made: Iterable[tuple[Tile, bytes]], after: SignedCheckpoint) -> None:
    for tile, data in made:
        if found[FOLDER + tile.path].digest != hashlib.sha256(data).hexdigest():
            raise log_reader.not_its_own(after)
