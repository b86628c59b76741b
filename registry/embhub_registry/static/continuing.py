"""Whether what an increment brings continues the export that is there: a stick may be anybody's.

The list of an increment is not signed. So its keyring must come from the same root and not be older, its log must
continue the log that is there, its part of nginx's configuration must be one that this program writes, a
commit that is there stays what it is, and there is nothing that is no file of an export.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from embhub.client import log_reader
from embhub.errors import RegistryError, UsageError
from embhub.log import checkpoints, merkle, notes
from embhub.log.notes import VerifierKey
from embhub.site import trust_store
from embhub.trust import keyring as keyrings
from embhub_registry.static import items, nginx_part
from embhub_registry.static.items import Item

TRUST, CHECKPOINT = "embhub/v1/trust", "log/checkpoint"


class ItemLog:
    """The log among the files of an export that is not in place yet."""

    def __init__(self, found: Mapping[str, Item]) -> None:
        self._found = found

    def read(self, name: str, *, limit: int) -> bytes | None:
        """As `log_reader.LogSource`."""
        item = self._found.get(f"log/{name}")
        if item is not None and item.size > limit:
            raise RegistryError(f"log/{name} has more than {limit:,} bytes", "it is no file of a log")
        return None if item is None else item.read()


def check(found: Mapping[str, Item], folder: Path) -> None:
    """Refuse files that do not continue the export in `folder`; of a first export there is nothing to compare.

    Args:
        found: all files of the export as it would be, by path.

    Raises:
        UsageError: a keyring, a log, a configuration, a commit or another file that does not belong there.
        VerificationError: another root, an older keyring, withdrawals that are gone. ForkedLogError: another log.
    """
    _check_layout(found)
    part = found.get(nginx_part.PATH)
    if part is not None and not nginx_part.is_written_here(part.read()):
        raise _refused("its part of nginx's configuration is none that this program writes")
    key = _check_trust(found, folder / TRUST)
    _check_log(found, folder / CHECKPOINT, key)
    _check_commits(found, folder)


def _check_trust(found: Mapping[str, Item], kept: Path) -> VerifierKey | None:
    """The log's key by the new keyring, which continues the one that is there."""
    if not kept.is_file():
        return None
    if TRUST not in found:
        raise _refused("it takes the keyring away")
    before = keyrings.parse_export(kept.read_bytes())
    opened = keyrings.open_export(before, root_fingerprint=before.root_fingerprint)
    new = keyrings.parse_export(found[TRUST].read())
    after = keyrings.open_export(new, root_fingerprint=before.root_fingerprint, minimum_version=opened.keyring.version)
    if after.registry != opened.registry:
        raise _refused(f"it is of {after.registry}, and the export is of {opened.registry}")
    trust_store.check_succession(after, before=opened, where=opened.registry)
    if opened.timestamp is not None and (after.timestamp is None or after.timestamp.issued < opened.timestamp.issued):
        raise _refused(f"its keyring was confirmed before {opened.timestamp.issued}, when that of the export was")
    return after.keyring.log_key


def _check_log(found: Mapping[str, Item], kept: Path, key: VerifierKey | None) -> None:
    source = ItemLog(found)
    data = log_reader.checkpoint(source)
    if data is None:
        if kept.is_file():
            raise _refused("it takes the log away")
        return
    after = checkpoints.open_signed(data, log=key).checkpoint if key else checkpoints.parse(notes.parse(data))
    if not kept.is_file():
        return
    before = checkpoints.parse(notes.parse(kept.read_bytes()))
    if after.size < before.size:
        raise _refused(f"its log has {after.size:,} entries, and that of the export {before.size:,}: it is older")
    proof = log_reader.prove_consistency(source, before.size, after.size) if after.size > before.size else ()
    merkle.check_consistency(before.size, after.size, before.root, after.root, proof)


def _check_layout(found: Mapping[str, Item]) -> None:
    """Nothing but files of an export: no other file in a commit. JSON may have the name of a page, and has no tag."""
    for path, item in found.items():
        if not items.is_of_layout(path):
            raise _refused(f"it has {path}, which is no file of an export")
        if items.is_page(path) and b"<" in item.read():
            raise _refused(f"{path} is not JSON as this program writes it")


def _check_commits(found: Mapping[str, Item], folder: Path) -> None:
    """A commit stays what it is, or goes as a whole: stock clients that name a commit verify nothing themselves."""
    new = _by_commit({path: item.digest for path, item in found.items()})
    for commit, files in _by_commit(_listed(folder)).items():
        if commit in new and new[commit] != files:
            raise _refused(f"it has other files for {commit}, and a commit never changes")


def _listed(folder: Path) -> dict[str, str]:
    """The files that are in place, by the list of the export; where that is gone, as they are."""
    try:
        return items.read_manifest((folder / items.MANIFEST).read_bytes())
    except (OSError, ValueError):
        paths = (path for path in folder.glob("*/*/resolve/*/**/*") if path.is_file())
        return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def _by_commit(files: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Digest by path, for each folder of a commit."""
    commits: dict[str, dict[str, str]] = {}
    for path, digest in files.items():
        if (commit := items.commit_of(path)) is not None:
            commits.setdefault(commit, {})[path] = digest
    return commits


def _refused(reason: str) -> UsageError:
    return UsageError(
        f"the increment does not continue this export: {reason}",
        "nothing was changed; ask whoever made the increment, or copy a whole export into a new folder",
    )
