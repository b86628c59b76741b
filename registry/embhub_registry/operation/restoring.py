"""From a backup to a registry: unpacked beside its final place, checked as `check` does, and only then moved there."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from embhub.durable import sync
from embhub.errors import ConfigError, EmbhubError, UsageError
from embhub_registry.database import DatabaseError, StorageFullError
from embhub_registry.operation import checking
from embhub_registry.operation.backup_file import (
    LARGEST_OBJECT,
    MANIFEST,
    BadBackupError,
    Manifest,
    Member,
    Reader,
    object_name,
    parse_manifest,
)
from embhub_registry.operation.opening import open_folder
from embhub_registry.storage.blobs import Blobs

_DIGEST = re.compile("[0-9a-f]{64}")


def restore(file: Path, folder: Path) -> dict[str, Any]:
    """Make `folder` the registry that `file` is a backup of; root key, keyring, name and address included.

    Raises:
        UsageError: the folder holds something, or there is no such file.
        BadBackupError: the file is damaged, cut off, hostile, or what it holds does not pass `check`.
        ConfigError: the place cannot be written, or the backup is of a newer release.
        StorageFullError: no room. In every case nothing is left under the final name.
    """
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise UsageError(f"{folder} is not empty: nothing was changed", "restore into a new folder")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.restoring-", dir=folder.parent))  # mode 0700
    except OSError as error:
        raise ConfigError(f"cannot write in {folder.parent}: {error.strerror}", "choose another folder") from error
    try:
        manifest = _unpack(file, scratch)
        report = _check(scratch, manifest)
        for path in [*scratch.rglob("*"), scratch]:
            sync(path)
        scratch.rename(folder)
        sync(folder.parent)
    except BadBackupError as error:
        raise BadBackupError(f"{file} is not restored: {error.message}", error.hint) from error
    except OSError as error:
        raise StorageFullError(f"cannot restore to {folder}: {error.strerror}", "free space there") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    known = manifest.model_dump(by_alias=True, exclude={"files"})
    told = report.corrupt + report.orphaned
    return {"dir": str(folder), **known, "revisions": report.revisions, "told": told}


def _unpack(file: Path, scratch: Path) -> Manifest:
    try:
        stream = file.open("rb")
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}", "give a file that `backup` made") from error
    with stream:
        reader = Reader(stream)
        manifest = parse_manifest(reader.read(_named(reader.next(), MANIFEST), limit=1_000_000))
        for name, part in manifest.files.items():
            member = _named(reader.next(), name)
            if member.size != part.size or _write(reader, member, scratch / name) != part.sha256:
                raise BadBackupError(f"{name} is not what {MANIFEST} says")
        _unpack_objects(reader, manifest, Blobs(scratch / "blobs", cache_bytes=0))
    return manifest


def _unpack_objects(reader: Reader, manifest: Manifest, blobs: Blobs) -> None:
    blobs.folder.mkdir()
    before, count, total = "", 0, 0
    while (member := reader.next()) is not None:
        digest = member.name.rpartition("/")[2]
        if not _DIGEST.fullmatch(digest) or member.name != object_name(digest) or digest <= before:
            raise BadBackupError(f"{member.name[:100]!r} does not belong into a backup")
        before, count, total = digest, count + 1, total + member.size
        if count > manifest.blobs or total > manifest.blob_bytes:
            raise BadBackupError(f"it holds more than the {manifest.blobs} objects that it names")
        if blobs.put(reader.read(member, limit=LARGEST_OBJECT), durable=False) != digest:
            raise BadBackupError(f"{member.name} holds other bytes than its name says")
    if (count, total) != (manifest.blobs, manifest.blob_bytes):
        raise BadBackupError(f"it holds {count} objects of the {manifest.blobs} that it names")


def _named(member: Member | None, name: str) -> Member:
    if member is None or member.name != name:
        found = "its end" if member is None else repr(member.name[:100])
        raise BadBackupError(f"{name} is expected, {found} was found")
    return member


def _write(reader: Reader, member: Member, path: Path) -> str:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        return reader.copy(member, stream.write)


def _check(scratch: Path, manifest: Manifest) -> checking.Report:
    """Open it as its server would, its schema brought up to date, and read everything back."""
    registry = None
    try:
        registry = open_folder(scratch)
        report = checking.check(registry)
        serious = [line for line in report.corrupt if not line.startswith("audit log")]
        if serious:  # an audit log that was tampered with before the backup stays so, and is told
            raise BadBackupError(f"what it holds is not whole: {serious[0]}")
        if report.blobs != manifest.blobs or registry.setting("root_fingerprint") != manifest.root_fingerprint:
            raise BadBackupError(f"its database is not of the registry that {MANIFEST} names")
        registry.audit_log.write("restored", made=manifest.made)
    except BadBackupError:
        raise
    except EmbhubError as error:
        raise BadBackupError(f"what it holds is no registry: {error.message}", error.hint) from error
    except (DatabaseError, ValueError, TypeError, LookupError) as error:
        raise BadBackupError(f"what it holds is no registry: {error}") from error
    finally:
        if registry is not None:
            registry.close()
        (scratch / "lock").unlink(missing_ok=True)
    return report
