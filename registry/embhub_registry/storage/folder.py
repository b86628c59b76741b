"""A registry on disk: one folder with its database, blobs, root key, audit log and lock."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embhub.errors import ConfigError, UsageError
from embhub.formats import instants
from embhub.site import config, keys
from embhub.trust import dsse, p256
from embhub.trust import keyring as keyrings
from embhub.trust.keyring import Trust
from embhub_registry.database import Database, DatabaseBusyError, accounts, schema
from embhub_registry.database.clock import now, stamp
from embhub_registry.storage.audit_log import AuditLog
from embhub_registry.storage.blobs import Blobs
from embhub_registry.storage.settings import CLOSED

ROOT_KEY = "root"
LONGEST_URL = 200  # as the keyring's schema has it
BACKUP_KEY = "backup"  # signs backups and is in none of them
COLLECTED = "audits_collected"  # whether audits that came before migration 005 are in its table


class TimedLock:
    """One at a time; who waits too long is told so, instead of holding a thread for as long as others need."""

    def __init__(self, patience: float = 10.0) -> None:
        self._lock = threading.Lock()
        self._patience = patience

    def __enter__(self) -> None:
        if not self._lock.acquire(timeout=self._patience):
            raise DatabaseBusyError("the registry is busy with other writers", "try again in a moment")

    def __exit__(self, *error: object) -> None:
        self._lock.release()


class Registry:
    """The parts of one registry; made by `create` or `operation.opening.open_folder`, closed by `close`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = Database(folder / "registry.db")
        self.blobs = Blobs(folder / "blobs")
        self.audit_log = AuditLog(folder / "audit.jsonl", self.database)
        self.storing = TimedLock()  # between a blob's write and the commit that names it
        self._trust: tuple[int, Trust] | None = None

    def setting(self, name: str) -> str:
        """A setting that `init` wrote: `name`, `url` or `audit`."""
        return accounts.read_setting(self.database.connection(), name) or ""

    def root_key(self) -> keys.SigningKey:
        """The key that signs keyrings; only commands of the operator load it, the server never does."""
        return keys.load(ROOT_KEY, folder=self.folder / "keys")

    def trust_export(self) -> bytes:
        """What clients pin: the root's public key and the signed keyring (`embhub.trust/1`)."""
        found = accounts.newest_keyring(self.database.connection())
        if found is None:
            raise ConfigError(f"{self.folder} has no keyring", "run `embhub-registry check`")
        envelope = dsse.parse(found[1], payload_type=keyrings.KEYRING_TYPE)
        return keyrings.TrustExport(
            self.setting("url"), p256.read_public(self.setting("root_key")), envelope
        ).to_bytes()

    def trust(self) -> Trust:
        """The registry's own keyring, opened as a client would; a new version is seen at the next call."""
        found = accounts.newest_keyring(self.database.connection())
        if self._trust is None or found is None or self._trust[0] != found[0]:
            self._trust = self.open_trust()
        return self._trust[1]

    def open_trust(self) -> tuple[int, Trust]:
        """The same read anew, its signature checked; with its version.

        Raises:
            ConfigError: there is no keyring. VerificationError: it is not the root key's.
        """
        export = keyrings.parse_export(self.trust_export())
        opened = keyrings.open_export(export, root_fingerprint=self.setting("root_fingerprint"))
        return opened.keyring.version, opened

    def close(self) -> None:
        """Close the database."""
        self.database.close()

    @contextmanager
    def alone(self, purpose: str) -> Iterator[None]:
        """Hold the folder's lock: one server, or one check, at a time. It ends with its process, however that ends.

        Raises:
            ConfigError: another process holds it, or the folder cannot be written.
        """
        path = self.folder / "lock"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise ConfigError(
                f"cannot write {path}: {error.strerror}", f"to {purpose}, the registry's own user needs a writable disk"
            ) from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                holder = os.pread(descriptor, 200, 0).decode("utf-8", "replace").strip() or "another process"
                raise ConfigError(
                    f"{self.folder} is in use by {holder}", f"stop it before you {purpose}, or use another folder"
                ) from error
            with contextlib.suppress(OSError):  # on a full disk the lock holds all the same, without its holder's name
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"process {os.getpid()} ({purpose}) on {socket.gethostname()}".encode(), 0)
            yield
        finally:
            os.close(descriptor)


def create(folder: Path, *, name: str, url: str, audit: str, closed: bool = False) -> Registry:
    """Lay out a new registry with its root key and an empty keyring, version 1.

    A `closed` one is so from its first moment: nobody reads without an access token, and repositories begin private.

    Raises:
        UsageError: the folder holds something already, or the address or name cannot be one.
        ConfigError: it cannot be written.
    """
    url = _check_url(url)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not empty: nothing was changed", "choose a new folder with --dir")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        (folder / "blobs").mkdir()
        (folder / "keys").mkdir(mode=0o700)
    except OSError as error:
        raise ConfigError(
            f"cannot write {folder}: {error.strerror}", "choose a folder that you may write to"
        ) from error
    registry = Registry(folder)
    try:
        root = keys.generate(ROOT_KEY, folder=folder / "keys")
        keys.generate(BACKUP_KEY, folder=folder / "keys")
        schema.migrate(registry.database)
        keyring = keyrings.Keyring(registry=url, version=1, issued=instants.write(now()))
        with registry.database.writing() as db:
            values = {"name": name, "url": url, "audit": audit, "created": stamp()}
            values |= {COLLECTED: "yes", "root_key": root.public_pem, "root_fingerprint": root.fingerprint}
            for key, value in (values | (CLOSED if closed else {})).items():
                accounts.write_setting(db, key, value)
            accounts.add_keyring(db, version=1, envelope=seal(keyring, root), now=stamp())
    except BaseException:
        registry.close()
        shutil.rmtree(folder / "blobs", ignore_errors=True)
        shutil.rmtree(folder / "keys", ignore_errors=True)
        for leftover in folder.glob("registry.db*"):
            leftover.unlink()
        raise
    registry.audit_log.write("init", name=name, url=url, audit=audit, closed=closed, root=root.fingerprint)
    return registry


def _check_url(url: str) -> str:
    """The address as clients will spell it.

    Raises:
        UsageError: no client could use it, or the keyring cannot name it.
    """
    try:
        checked = config.check_registry(url)
    except ConfigError as error:
        raise UsageError(error.message, error.hint) from error
    if len(checked) > LONGEST_URL or not all("!" <= c <= "~" for c in checked):
        raise UsageError(
            f"the registry's address is not one of at most {LONGEST_URL} ASCII characters",
            "write a host name with other letters in its ASCII form (xn--…)",
        )
    return checked


def seal(keyring: keyrings.Keyring, root: keys.SigningKey) -> bytes:
    """A keyring signed by the root key, as it is stored and served."""
    return json.dumps(keyrings.sign_keyring(keyring, root_key=root).to_json()).encode()
