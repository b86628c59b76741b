"""From a backup to a registry: unpacked beside its final place, checked as `check` does, and only then moved there."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from embhub.durable import sync
from embhub.errors import ConfigError, EmbhubError, UsageError
from embhub_registry.database import Database, DatabaseError, StorageFullError
from embhub_registry.database.people import accounts
from embhub_registry.operation.backups import after_restore, backup_encryption, backup_seal, checking
from embhub_registry.operation.backups.backup_file import (
    DATABASE,
    LARGEST_OBJECT,
    MANIFEST,
    BadBackupError,
    Manifest,
    Member,
    Reader,
    object_line,
    object_name,
    parse_manifest,
)
from embhub_registry.operation.keyrings.newest_keyring import NewestKeyringError
from embhub_registry.operation.opening import open_folder
from embhub_registry.storage.folder import BLOBS, SHARED, Registry
from embhub_registry.storage.log import registry_log
from embhub_registry.storage.stores.folder_blobs import FolderBlobs

_PLAIN = ".decrypted"
_DIGEST = re.compile("[0-9a-f]{64}")


def restore(
    file: Path, folder: Path, *, signed_by: str | None = None, unauthenticated: bool = False,
    identity: Path | None = None, keep_tokens: bool = False, keep_keyring: bool = False,
    keyring: Path | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Make `folder` the registry that `file` is a backup of; root key, keyring, name and address included.

    Args:
        file: the backup, encrypted or not.
        folder: where the registry will be.
        signed_by: fingerprint of the key that must have signed the backup, or a file with its public half.
        unauthenticated: take it whoever made it.
        identity: file with the key that decrypts it.
        keep_tokens: access tokens stay in force; otherwise all are revoked.
        keep_keyring: the keyring keeps its version; otherwise it is raised, so that sites that saw a newer one take it.
        keyring: the newest keyring that anybody saw, as `newest_keyring.take` reads it.

    Raises:
        UsageError: the folder holds something, there is no such file, or nothing says who signed it.
        NewestKeyringError: `keyring` is none of this registry.
        BadBackupError: the file is not signed by that key, damaged, cut off, hostile, or does not pass `check`.
        ConfigError: the place cannot be written, or the backup is of a newer release.
        StorageFullError: no room. In every case nothing is left under the final name.
    """
    if signed_by is None and not unauthenticated:
        raise UsageError(
            "a backup is only as good as its origin: say who signed it",
            "pass --signed-by with the fingerprint that `backup make` printed, or --unauthenticated for a file that you"
            " kept where nobody else could write",
        )
    signer = None if signed_by is None else backup_seal.fingerprint_of(signed_by)
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise UsageError(f"{folder} is not empty: nothing was changed", "restore into a new folder")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.restoring-", dir=folder.parent))  # mode 0700
    except OSError as error:
        raise ConfigError(f"cannot write in {folder.parent}: {error.strerror}", "choose another folder") from error
    try:
        plain = _decrypted(file, identity, scratch)
        manifest = _unpack(plain, scratch, signer, FolderBlobs(scratch / BLOBS))
        (scratch / _PLAIN).unlink(missing_ok=True)
        settle = partial(_settle, keep_tokens=keep_tokens, keep_keyring=keep_keyring, keyring=keyring)
        report, done = _check(scratch, manifest, settle)
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
    known = manifest.model_dump(by_alias=True, exclude={"files", "objects_sha256"})
    told = report.corrupt + report.orphaned + done.pop("told")
    return {"dir": str(folder), **known, **done, "signed_by": signer, "revisions": report.revisions, "told": told}


def _decrypted(file: Path, identity: Path | None, scratch: Path) -> Path:
    """The backup itself: what was encrypted, decrypted beside the registry's future place."""
    try:
        if not backup_encryption.is_encrypted(file):
            return file
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}", "give a file that `backup make` wrote") from error
    backup_encryption.decrypt(file, identity, scratch / _PLAIN)
    return scratch / _PLAIN


def _unpack(file: Path, scratch: Path, signer: str | None, blobs: FolderBlobs) -> Manifest:
    try:
        stream = file.open("rb")
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}", "give a file that `backup make` wrote") from error
    with stream:
        reader = Reader(stream)
        text = reader.read(_named(reader.next(), MANIFEST), limit=1_000_000)
        manifest = _authentic(reader, text, signer)
        for name, part in manifest.files.items():
            member = _named(reader.next(), name)
            if member.size != part.size or _write(reader, member, scratch / name) != part.sha256:
                raise BadBackupError(f"{name} is not what {MANIFEST} says")
        _unpack_objects(reader, manifest, blobs)
    return manifest


def _authentic(reader: Reader, text: bytes, signer: str | None) -> Manifest:
    """The manifest, its signature checked before anything that it names is read."""
    manifest = parse_manifest(text)
    sealed = reader.read(_named(reader.next(), backup_seal.NAME), limit=backup_seal.LARGEST)
    if signer is not None:
        backup_seal.check(text, sealed, signed_by=signer)
    return manifest


def _unpack_objects(reader: Reader, manifest: Manifest, blobs: FolderBlobs) -> None:
    blobs.folder.mkdir()
    before, count, total, named = "", 0, 0, hashlib.sha256()
    while (member := reader.next()) is not None:
        digest = member.name.rpartition("/")[2]
        if not _DIGEST.fullmatch(digest) or member.name != object_name(digest) or digest <= before:
            raise BadBackupError(f"{member.name[:100]!r} does not belong into a backup")
        before, count, total = digest, count + 1, total + member.size
        named.update(object_line(digest, member.size))
        if count > manifest.blobs or total > manifest.blob_bytes:
            raise BadBackupError(f"it holds more than the {manifest.blobs} objects that it names")
        if blobs.put(reader.read(member, limit=LARGEST_OBJECT), durable=False) != digest:
            raise BadBackupError(f"{member.name} holds other bytes than its name says")
    if (count, total) != (manifest.blobs, manifest.blob_bytes):
        raise BadBackupError(f"it holds {count} objects of the {manifest.blobs} that it names")
    if named.hexdigest() != manifest.objects_sha256:
        raise BadBackupError(f"it holds other objects than {MANIFEST} names")


def _named(member: Member | None, name: str) -> Member:
    if member is None or member.name != name:
        found = "its end" if member is None else repr(member.name[:100])
        raise BadBackupError(f"{name} is expected, {found} was found")
    return member


def _write(reader: Reader, member: Member, path: Path) -> str:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        return reader.copy(member, stream.write)


def _check(
    scratch: Path, manifest: Manifest, settle: Callable[[Registry], dict[str, Any]]
) -> tuple[checking.Report, dict[str, Any]]:
    """Open it as its server would, its schema brought up to date, and read everything back."""
    registry = None
    try:
        _note(scratch)
        registry = open_folder(scratch)
        registry_log.repair(registry)
        report = checking.check(registry)
        serious = [line for line in report.corrupt if not line.startswith("audit log")]
        if serious:  # an audit log that was tampered with before the backup stays so, and is told
            raise BadBackupError(f"what it holds is not whole: {serious[0]}")
        if report.blobs != manifest.blobs or registry.setting("root_fingerprint") != manifest.root_fingerprint:
            raise BadBackupError(f"its database is not of the registry that {MANIFEST} names")
        done = settle(registry)
        registry.audit_log.write(
            "restored", made=manifest.made, tokens_revoked=done["tokens_revoked"], keyring=done["keyring_version"]
        )
    except (BadBackupError, NewestKeyringError):
        raise
    except EmbhubError as error:
        raise BadBackupError(f"what it holds is no registry: {error.message}", error.hint) from error
    except (DatabaseError, ValueError, TypeError, LookupError) as error:
        raise BadBackupError(f"what it holds is no registry: {error}") from error
    finally:
        if registry is not None:
            registry.close()
        (scratch / "lock").unlink(missing_ok=True)
    return report, done


def _note(scratch: Path) -> None:
    """It has one server now: the backup's own database says how many it had."""
    database = Database(scratch / DATABASE)
    try:
        with database.writing() as db:
            accounts.write_setting(db, SHARED, "no")
    finally:
        database.close()


def _settle(registry: Registry, *, keep_tokens: bool, keep_keyring: bool, keyring: Path | None) -> dict[str, Any]:
    """What became of access tokens and keyring, and what to tell of it."""
    revoked = 0 if keep_tokens else after_restore.revoke_tokens(registry)
    version, told = registry.trust().keyring.version, list[str]()
    if not keep_keyring:
        version, told = after_restore.raise_keyring(registry, keyring)
    told = told if keep_tokens else [after_restore.COMES_BACK, *told]
    return {"tokens_revoked": revoked, "keyring_version": version, "told": told}
