"""`check --repair`: remove what nothing refers to, and only where nothing else is wrong."""

from __future__ import annotations

from embhub.errors import ConfigError
from embhub_registry.database.releases import blob_rows
from embhub_registry.operation.backups.checking import Orphan, Report
from embhub_registry.storage.folder import Registry
from embhub_registry.storage.stores.folder_blobs import discard_file


def repair(registry: Registry, report: Report) -> list[str]:
    """Remove the orphans of a report that was made under the same lock; returns what was removed, in words.

    Each is looked at once more: a blob that some commit holds after all stays. Where anything is corrupt nothing is
    removed: a stray file may be the missing one's only copy.

    Raises:
        ConfigError: a file cannot be removed.
    """
    if report.corrupt:
        return []
    return [orphan.text for orphan in report.orphans if _remove(registry, orphan)]


def _remove(registry: Registry, orphan: Orphan) -> bool:
    try:
        if orphan.digest is not None:
            if not _remove_object(registry, orphan.digest):
                return False
        elif orphan.stray is None or not discard_file(orphan.stray):
            return False
    except OSError as error:
        raise ConfigError(
            f"cannot remove {_place(registry, orphan)}: {error.strerror}",
            "check the folder's owner; nothing else was touched",
        ) from error
    registry.audit_log.write("repaired", removed=orphan.text)
    return True


def _remove_object(registry: Registry, digest: str) -> bool:
    with registry.database.writing() as db:
        if not blob_rows.forget_unused(db, digest):
            return False
    registry.blobs.delete(digest)  # after its row: stopped in between, it is an orphan of the next report
    return True


def _place(registry: Registry, orphan: Orphan) -> str:
    if orphan.digest is not None:
        return registry.blobs.place(orphan.digest)
    return str(orphan.stray.path) if orphan.stray is not None else orphan.text
