"""A backup of a registry that may be serving: one file with everything that makes it that registry.

The database is copied first, by SQLite's own online backup: one moment, whole transactions. Objects never change and
are durable before a row names them, so whatever the copy names is there, unless a repository was deleted since: then a
new copy is made.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, BinaryIO

from embhub.durable import sync
from embhub.errors import ConfigError, UsageError
from embhub.site.signing.keys import SigningKey
from embhub_registry.database import DatabaseBusyError, StorageFullError, reading_copy
from embhub_registry.database.clock import stamp
from embhub_registry.database.logs import audit_head
from embhub_registry.database.logs.audit_head import Head
from embhub_registry.database.people import accounts
from embhub_registry.database.releases import blob_rows
from embhub_registry.operation.backups import backup_encryption, backup_file, backup_seal
from embhub_registry.operation.backups.backup_file import DATABASE, KEYS, MANIFEST, Manifest
from embhub_registry.operation.facts.registry_facts import BACKED_UP
from embhub_registry.storage.audit import audit_log
from embhub_registry.storage.folder import Registry
from embhub_registry.storage.stores.blobs import DamagedBlobError, MissingBlobError

ATTEMPTS = 5
Held = tuple[BinaryIO, int]  # an open file, and how many of its bytes belong into the backup


def back_up(registry: Registry, file: Path, *, recipients: Sequence[str] = ()) -> dict[str, Any]:
    """Write a signed backup to `file`, which must not exist; durable, mode 0600. Returns what it holds.

    With `recipients`, public keys of age or SSH, it is encrypted: nothing of it lies elsewhere unencrypted, but for a
    copy of the database in the registry's own folder while it is made.

    Raises:
        UsageError: `file` is there already, or its folder is not; or a recipient is none.
        ConfigError: the folder cannot be written, or an object of the registry is missing or damaged.
        StorageFullError: no room. Nothing is left under the final name.
    """
    if file.exists() or file.is_symlink():
        raise UsageError(f"{file} is there already: nothing was changed", "choose a new name, with the date in it")
    if not file.parent.is_dir():
        raise UsageError(f"there is no folder {file.parent}", "make it, or choose another")
    keys = backup_encryption.read_recipients(recipients)
    signing = registry.private_keys.backup_key()
    try:
        scratch = Path(tempfile.mkdtemp(prefix=f".{file.name}.", dir=file.parent))  # mode 0700
    except OSError as error:
        raise ConfigError(f"cannot write in {file.parent}: {error.strerror}", "choose another folder") from error
    try:
        with _beside(registry, scratch, keys) as copy:
            manifest, size = _write(registry, scratch, copy, signing, keys)
        (scratch / "backup").rename(file)
        sync(file.parent)
    except OSError as error:
        raise StorageFullError(
            f"cannot write {file}: {error.strerror}", "free space, or choose another disk"
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    with contextlib.suppress(StorageFullError, DatabaseBusyError), registry.database.writing() as db:
        accounts.write_setting(db, BACKED_UP, stamp())
    registry.audit_log.write("backup", file=file.name, blobs=manifest.blobs, bytes=size, encrypted=bool(keys))
    known = manifest.model_dump(by_alias=True, exclude={"files", "objects_sha256"})
    made = {"file": str(file), "bytes": size, "signed_by": signing.fingerprint, "encrypted": bool(keys),
            "root_key": KEYS[0] in manifest.files}  # fmt: skip
    return made | known


@contextlib.contextmanager
def _beside(registry: Registry, scratch: Path, keys: list[Any]) -> Iterator[Path]:
    """Where the copy of the database is made: with an encrypted backup not on the disk that the backup goes to."""
    if not keys:
        yield scratch / DATABASE
        return
    with tempfile.TemporaryDirectory(prefix=".backup-", dir=registry.folder) as private:
        yield Path(private) / DATABASE


def _write(registry: Registry, scratch: Path, copy: Path, signing: SigningKey, keys: list[Any]) -> tuple[Manifest, int]:
    """The whole backup as `scratch/backup`, with its size in bytes."""
    for attempt in range(ATTEMPTS):
        registry.database.copy_to(copy)
        try:
            with _create(scratch / "backup", keys) as out:
                manifest = _write_archive(registry, copy, out, signing)
        except MissingBlobError as error:
            if attempt < ATTEMPTS - 1:
                continue  # a repository was deleted after the database was copied
            raise ConfigError(
                f"the registry lost blob {error}: a backup would not be whole", "stop the server and run `check`"
            ) from error
        break
    return manifest, (scratch / "backup").stat().st_size


@contextlib.contextmanager
def _create(path: Path, keys: list[Any]) -> Iterator[BinaryIO]:
    """A new file, durable at the end; what goes into it is encrypted where there are keys to encrypt to."""
    with path.open("wb") as out:
        os.fchmod(out.fileno(), 0o600)
        if keys:
            with backup_encryption.writing(out, keys) as stream:
                yield stream
        else:
            yield out
        out.flush()
        os.fsync(out.fileno())


def _write_archive(registry: Registry, copy: Path, out: BinaryIO, signing: SigningKey) -> Manifest:
    with reading_copy(copy) as db:
        objects = blob_rows.sizes(db)
        keyring, head = accounts.newest_keyring(db), audit_head.read(db)
        settings = {name: accounts.read_setting(db, name) or "" for name in ("name", "url", "root_fingerprint")}
    named = hashlib.sha256(b"".join(backup_file.object_line(*item) for item in objects.items())).hexdigest()
    with contextlib.ExitStack() as stack:
        held = _open(stack, {DATABASE: copy} | _keys(registry))
        held |= _open_audit_log(stack, registry, head)
        manifest = Manifest(
            schema="embhub.backup/2", made=stamp(), program=metadata.version("embhub"),
            keyring_version=keyring[0] if keyring else 0,
            files={name: backup_file.part_of(stream, size) for name, (stream, size) in held.items()},
            blobs=len(objects), blob_bytes=sum(objects.values()), objects_sha256=named, **settings,
        )  # fmt: skip
        text = manifest.model_dump_json(by_alias=True, indent=2).encode()
        with tarfile.open(fileobj=out, mode="w|", format=tarfile.GNU_FORMAT) as archive:
            _append(archive, MANIFEST, text)
            _append(archive, backup_seal.NAME, backup_seal.seal(text, signing))
            for name, (stream, size) in held.items():
                backup_file.append(archive, name, stream, size)
            for digest, size in objects.items():
                _append(archive, backup_file.object_name(digest), _object(registry, digest, size))
    return manifest


def _keys(registry: Registry) -> dict[str, Path]:
    """The root key's files, where it is here; a root that is kept elsewhere is in no backup, as are online keys."""
    return {name: registry.folder / name for name in KEYS} if registry.private_keys.root_is_here else {}


def _append(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    backup_file.append(archive, name, io.BytesIO(data), len(data))


def _object(registry: Registry, digest: str, size: int) -> bytes:
    damaged = ConfigError(f"blob {digest} is damaged: a backup would not be whole", "stop the server and run `check`")
    try:
        data = registry.blobs.read(digest)
    except DamagedBlobError as error:
        raise damaged from error
    if len(data) != size or hashlib.sha256(data).hexdigest() != digest:
        raise damaged
    return data


def _open(stack: contextlib.ExitStack, files: Mapping[str, Path]) -> dict[str, Held]:
    """Each file by its name in the backup, open: what is renamed afterwards is read all the same."""
    held: dict[str, Held] = {}
    for name, file in files.items():
        try:
            stream = stack.enter_context(file.open("rb"))
        except FileNotFoundError as error:
            raise ConfigError(f"{file} is gone: a backup would not be whole", "run `check`") from error
        held[name] = (stream, os.fstat(stream.fileno()).st_size)
    return held


def _open_audit_log(stack: contextlib.ExitStack, registry: Registry, head: Head | None) -> dict[str, Held]:
    """The segments as they were when the database was copied: without later lines, and with no later month's end."""
    if head is None or head.place == audit_log.DATABASE:
        return {}
    path = registry.audit_log.path
    turned = path.with_name(f"{path.stem}-{head.segment}{path.suffix}")
    closed = [file for file in registry.audit_log.segments() if file not in (path, turned) and file.name < turned.name]
    held = _open(stack, {file.name: file for file in closed})
    current = stack.enter_context((path if path.exists() else turned).open("rb"))
    if turned.exists():  # the month ended since, perhaps this very moment
        current = stack.enter_context(turned.open("rb"))
    return {**held, path.name: (current, min(head.size, os.fstat(current.fileno()).st_size))}
