"""Whether what an increment brings continues the export that is there: a stick may be anybody's.

The list of an increment is not signed. So its keyring must come from the same root and not be older, its log must
continue the log that is there (`continuing_log`), its part of nginx's configuration must be one that this program
writes, and a commit that is there stays what it is. Lists and status files are JSON, and nobody verifies what they say.
`export_paths` knows the paths that an export has; files of another path do not come here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from embhub.log.notes import VerifierKey
from embhub.site import trust_store
from embhub.trust import keyring as keyrings
from embhub_registry.static import continuing_log, export_paths, items, nginx_part
from embhub_registry.static.items import Item
from embhub_registry.static.refusing import refused

TRUST = "embhub/v1/trust"


def check(found: Mapping[str, Item], folder: Path) -> None:
    """Refuse files that do not continue the export in `folder`; of a first export there is nothing to compare.

    Args:
        found: all files of the export as it would be, by path.

    Raises:
        UsageError: a keyring, a log, a configuration, a commit or a list that does not belong there.
        VerificationError: another root, an older keyring, withdrawals that are gone. ForkedLogError: another log.
    """
    listed = items.in_place(folder)
    _check_files(found, listed)
    part = found.get(nginx_part.PATH)
    if part is not None and not nginx_part.is_written_here(part.read()):
        raise refused("its part of nginx's configuration is none that this program writes")
    key = _check_trust(found, folder / TRUST)
    continuing_log.check(found, folder, key, listed)
    _check_commits(found, listed)


def _check_trust(found: Mapping[str, Item], kept: Path) -> VerifierKey | None:
    """The log's key by the new keyring, which continues the one that is there."""
    if not kept.is_file():
        return None
    if TRUST not in found:
        raise refused("it takes the keyring away")
    before = keyrings.parse_export(kept.read_bytes())
    opened = keyrings.open_export(before, root_fingerprint=before.root_fingerprint)
    new = keyrings.parse_export(found[TRUST].read())
    after = keyrings.open_export(new, root_fingerprint=before.root_fingerprint, minimum_version=opened.keyring.version)
    if after.registry != opened.registry:
        raise refused(f"it is of {after.registry}, and the export is of {opened.registry}")
    trust_store.check_succession(after, before=opened, where=opened.registry)
    if opened.timestamp is not None and (after.timestamp is None or after.timestamp.issued < opened.timestamp.issued):
        raise refused(f"its keyring was confirmed before {opened.timestamp.issued}, when that of the export was")
    return after.keyring.log_key


def _check_files(found: Mapping[str, Item], listed: Mapping[str, str]) -> None:
    """Nothing but JSON where an export has JSON, and no tag in it: it may have the name of a page, or of a program."""
    for path, item in found.items():
        if export_paths.is_json(path) and listed.get(path) != item.digest and not _is_json(item.read()):
            raise refused(f"{path} is not JSON as this program writes it")
    if clash := found.keys() - {item.path for item in items.without_clashes(found.values())}:
        raise refused(f"{min(clash)} is a file where another one needs a folder, or below a file")


def _is_json(data: bytes) -> bool:
    try:
        value = json.loads(data.decode())
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict | list) and b"<" not in data


def _check_commits(found: Mapping[str, Item], listed: Mapping[str, str]) -> None:
    """A commit stays what it is, or goes as a whole: stock clients that name a commit verify nothing themselves."""
    new = _by_commit({path: item.digest for path, item in found.items()})
    for commit, files in _by_commit(listed).items():
        if commit in new and new[commit] != files:
            raise refused(f"it has other files for {commit}, and a commit never changes")


def _by_commit(files: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Digest by path, for each folder of a commit."""
    commits: dict[str, dict[str, str]] = {}
    for path, digest in files.items():
        if (commit := items.commit_of(path)) is not None:
            commits.setdefault(commit, {})[path] = digest
    return commits
