"""Whether what an increment brings continues the export that is there: a stick may be anybody's.

The list of an increment is not signed. So its keyring must come from the same root and not be older, its withdrawals
must be those that came with the keyring, its log must continue the log that is there (`continuing_log`), its part of
nginx's configuration must be one that this program writes, and a commit that is there stays what it is. Lists and
status files are JSON, and nobody verifies what they say. `export_paths` knows the paths that an export has, and how
large their files may be; other files do not come here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from embhub.errors import EmbhubError
from embhub.formats import strict_json
from embhub.site.pins import trust_store
from embhub.trust import advisories, dsse, freshness, kept_advisories
from embhub.trust import keyring as keyrings
from embhub.trust.advisories import Advisories
from embhub.trust.keyring import Trust
from embhub_registry.database.clock import now
from embhub_registry.static import continuing_log, export_paths, items, nginx_part
from embhub_registry.static.items import Item
from embhub_registry.static.layout import ADVISORIES, TRUST
from embhub_registry.static.refusing import refused

_MOST_NODES = 2_000_000  # of a list or status file: more take far more memory than their bytes
_WITHOUT_A_TAG = (TRUST, ADVISORIES, continuing_log.CHECKPOINT)
"""They have no ending, and strangers may write into them beside what is signed."""


def check(found: Mapping[str, Item], folder: Path) -> None:
    """Refuse files that do not continue the export in `folder`; of a first export there is nothing to compare.

    Args:
        found: all files of the export as it would be, by path.

    Raises:
        UsageError: a keyring, withdrawals, a log, a configuration, a commit or a list that does not belong there.
        VerificationError: another root, an older keyring, older withdrawals. ForkedLogError: another log.
    """
    listed = items.in_place(folder)
    _check_files(found, listed)
    part = found.get(nginx_part.PATH)
    if part is not None and not nginx_part.is_written_here(part.read()):
        raise refused("its part of nginx's configuration is none that this program writes")
    trust = _check_trust(found, folder / TRUST)
    if trust is not None:
        freshness.refuse_the_future(trust, now())
    _check_withdrawals(found, folder / ADVISORIES, trust)
    key = trust.keyring.log_key if trust is not None else None
    if trust is not None and key is None and continuing_log.CHECKPOINT in found:
        raise refused("it has a log, and its keyring names no key for one")
    continuing_log.check(found, folder, key, listed)
    _check_commits(found, listed)


def _check_trust(found: Mapping[str, Item], kept: Path) -> Trust | None:
    """The new keyring, which continues the one that is there; of a first one the signatures alone are checked."""
    if TRUST not in found:
        if kept.is_file():
            raise refused("it takes the keyring away")
        return None
    new = keyrings.parse_export(found[TRUST].read())
    if not kept.is_file():
        return keyrings.open_export(new, root_fingerprint=new.root_fingerprint)
    before = keyrings.parse_export(kept.read_bytes())
    opened = keyrings.open_export(before, root_fingerprint=before.root_fingerprint)
    after = keyrings.open_export(new, root_fingerprint=before.root_fingerprint, minimum_version=opened.keyring.version)
    if after.registry != opened.registry:
        raise refused(f"it is of {after.registry}, and the export is of {opened.registry}")
    trust_store.check_succession(after, before=opened, where=opened.registry)
    if opened.timestamp is not None and (after.timestamp is None or _is_stamped_before(after, opened)):
        raise refused(f"its keyring was confirmed before {opened.timestamp.issued}, when that of the export was")
    return after


def _is_stamped_before(after: Trust, before: Trust) -> bool:
    """Whether the same key stamped it earlier. Another one, which the root named, begins its own count of days."""
    if after.timestamp is None or before.timestamp is None:
        return False
    keys = [(trust.keyring.online or {}).get("timestamp") for trust in (after, before)]
    return keys[0] == keys[1] and after.timestamp.issued < before.timestamp.issued


def _check_withdrawals(found: Mapping[str, Item], kept: Path, trust: Trust | None) -> None:
    """The list of withdrawals is the one that came with the keyring, with which it was compared with the one before.

    Where none came, the list that is there stays; and where there is no keyring, the list never becomes older.
    """
    before = kept.read_bytes() if kept.is_file() else None
    brought = trust.advisories if trust is not None else None
    if ADVISORIES not in found:
        if before is not None or brought is not None:
            raise refused("it takes the list of withdrawals away")
        return
    data = found[ADVISORIES].read()
    if brought is None and data == before:
        return
    envelope = _envelope_in(data)
    if trust is not None:
        if envelope is None or envelope != brought or kept_advisories.opened(trust) is None:
            raise refused(f"{ADVISORIES} is not the list of withdrawals that came with its keyring")
        return
    new, known = _document_in(data), _document_in(before or b"")
    if new is None:
        raise refused(f"{ADVISORIES} is no list of withdrawals")
    if known is not None and (new.registry != known.registry or new.number <= known.number):
        raise refused(f"its list of withdrawals has number {new.number}, and that of the export {known.number}")


def _envelope_in(data: bytes) -> dsse.Envelope | None:
    try:
        return advisories.read_envelope(data)
    except EmbhubError:
        return None


def _document_in(data: bytes) -> Advisories | None:
    """A list of withdrawals whose signature nobody can check; None where it is none."""
    try:
        return advisories.read_document(advisories.read_envelope(data).payload)
    except EmbhubError:
        return None


def _check_files(found: Mapping[str, Item], listed: Mapping[str, str]) -> None:
    """Nothing but JSON where an export has JSON, and no tag in it: it may have the name of a page, or of a program."""
    for path, item in found.items():
        if listed.get(path) == item.digest:
            continue
        if path in _WITHOUT_A_TAG and b"<" in item.read():
            raise refused(f"{path} has a tag in it")
        if export_paths.is_json(path) and not _is_json(item.read()):
            raise refused(f"{path} is not JSON as this program writes it")
    if clash := found.keys() - {item.path for item in items.without_clashes(found.values())}:
        raise refused(f"{min(clash)} is a file where another one needs a folder, or below a file")


def _is_json(data: bytes) -> bool:
    try:
        value = strict_json.read(data, limit=export_paths.LARGEST_JSON, nodes=_MOST_NODES, items=_MOST_NODES)
    except strict_json.JsonError:
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
