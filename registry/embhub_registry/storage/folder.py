"""A registry on disk: one folder with its database, blobs, audit log and lock, and the keys that are kept there."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from pathlib import Path

from embhub.errors import ConfigError, UsageError
from embhub.formats import instants
from embhub.site import config
from embhub.site.signing import keys
from embhub.trust import advisories, dsse, multisig, root_keys
from embhub.trust import keyring as keyrings
from embhub.trust.keyring import Keyring, Purpose, RootKeys, Trust, TrustExport
from embhub.trust.origin import origin_of
from embhub_registry.database import Database, InUseError, Leadership, schema
from embhub_registry.database.clock import now, stamp
from embhub_registry.database.dialects import SQLITE
from embhub_registry.database.logs import root_rows
from embhub_registry.database.logs.sequencer import Sequencer
from embhub_registry.database.people import accounts
from embhub_registry.database.standing import withdrawals
from embhub_registry.storage import database_place, log_entries, timestamps
from embhub_registry.storage.audit.audit_log import AuditLog
from embhub_registry.storage.registry_keys import ROOT_KEY, RegistryKeys
from embhub_registry.storage.settings import CLOSED, SETTINGS
from embhub_registry.storage.shared_lock import SharedLock
from embhub_registry.storage.stores.blobs import BlobStore
from embhub_registry.storage.stores.database_blobs import DatabaseBlobs
from embhub_registry.storage.stores.folder_blobs import FolderBlobs

LONGEST_URL = 200  # as the keyring's schema has it
ROOT, ONLINE_KEYS = "root", "online_keys"  # settings: the root's public keys; where the online keys are
SHARED = "shared"  # a setting: "yes" where any number of servers may serve at once
BLOBS = "blobs"  # the folder of files, where the database is SQLite
MOVED = "moved"  # a setting of a database that `storage move` left: when


class Registry:
    """The parts of one registry; made by `create` or `operation.opening.open_folder`, closed by `close`."""

    def __init__(self, folder: Path, *, online_keys: Path | None = None, database: str | None = None) -> None:
        self.folder = folder
        self._online_keys = online_keys
        self.database = database_place.open_database(folder, database)
        self.sequencer = Sequencer(self.database)
        self.audit_log = AuditLog(folder / "audit.jsonl", self.database)
        self.storing = SharedLock()  # commits hold it from a blob's write until it is named; who removes bytes, alone
        self.leadership: Leadership | None = None  # of a server that shares the registry: who signs the log
        self._trust: tuple[object, Trust] | None = None

    @cached_property
    def blobs(self) -> BlobStore:
        """The store of its objects: in its folder beside SQLite, else in the database on a server."""
        if self.database.dialect is SQLITE:
            return FolderBlobs(self.folder / BLOBS)
        return DatabaseBlobs(self.database)

    @property
    def is_shared(self) -> bool:
        """Whether any number of servers may serve it at once, as `storage share` decided."""
        return self.database.dialect is not SQLITE and self.setting(SHARED) == "yes"

    @property
    def runs_maintenance(self) -> bool:
        """Whether what one server does for all is this one's: it is alone, or the one that signs the log."""
        return self.leadership is None or self.leadership.term is not None

    def setting(self, name: str) -> str:
        """A setting that `init` wrote: `name`, `url` or `audit`."""
        return accounts.read_setting(self.database.connection(), name) or ""

    @property
    def private_keys(self) -> RegistryKeys:
        """Where its private keys are: as `--online-keys` says, else as `init` noted."""
        noted = self.setting(ONLINE_KEYS)
        return RegistryKeys(self.folder, self._online_keys or (Path(noted) if noted else None))

    def root_key(self) -> keys.SigningKey:
        """The key that signs keyrings; only commands of the operator load it, the server never does."""
        return self.private_keys.root()

    def root(self) -> RootKeys:
        """The public keys of the root, and how many of them must sign."""
        return RootKeys.model_validate_json(self.setting(ROOT))

    def online_key(self, purpose: Purpose) -> dsse.Signer | None:
        """The key here that the keyring names for `purpose`, `timestamp` or `advisories`; None without it."""
        key, named = self.private_keys.online_key(purpose), (self.trust().keyring.online or {}).get(purpose)
        return key if key is not None and named is not None and key.fingerprint == named.fingerprint else None

    @property
    def has_keyring(self) -> bool:
        """Whether the root signed a keyring yet."""
        return accounts.newest_keyring(self.database.connection()) is not None

    def export(self) -> TrustExport:
        """What clients pin: changes of the root, the signed keyring, and what the online keys signed.

        Raises:
            ConfigError: no root key signed a keyring yet.
        """
        db = self.database.connection()
        found = accounts.newest_keyring(db)
        if found is None:
            raise ConfigError(
                "this registry has no signed keyring yet", "its operator runs `keyring propose`, `sign` and `install`"
            )
        export = TrustExport(
            self.setting("url"),
            multisig.parse(found[1], payload_type=keyrings.KEYRING_TYPE),
            tuple(multisig.parse(row, payload_type=root_keys.ROOT_TYPE) for row in root_rows.root_changes(db)),
        )
        return timestamps.attach(replace(export, advisories=current_advisories(self, export.claimed)), db)

    def trust_export(self) -> bytes:
        """The same as the document that is served (`embhub.trust/2`)."""
        return self.export().to_bytes()

    def trust(self) -> Trust:
        """The registry's own keyring, opened as a client would; a new version is seen at the next call.

        Before the first keyring it is one without members: nobody may sign anything yet.
        """
        db = self.database.connection()
        found, stamped = accounts.newest_keyring(db), root_rows.timestamp(db)
        if found is None:
            return self._nobody()
        current = (found[0], stamped[0] if stamped else None)
        if self._trust is None or self._trust[0] != current:
            self._trust = (current, self.open_trust())
        return self._trust[1]

    def open_trust(self) -> Trust:
        """The same read anew, its signatures checked.

        Raises:
            ConfigError: there is no keyring. VerificationError: it is not the root's.
        """
        return keyrings.open_export(self.export(), root_fingerprint=self.setting("root_fingerprint"))

    def _nobody(self) -> Trust:
        created = self.setting("created")[:19] + "Z"
        empty = Keyring(registry=self.setting("url"), version=1, issued=created, expires=created, root=self.root())
        return Trust(self.setting("url"), self.setting("root_fingerprint"), empty.model_copy(update={"version": 0}))

    def days(self, name: str) -> float:
        """A setting that is a number of days."""
        return float(self.setting(name) or SETTINGS[name].default)

    def renew_timestamp(self) -> bool:
        """Sign what is current, where that is due and the key is on this machine; whether it was signed."""
        key = self.online_key("timestamp") if self.has_keyring else None
        if key is None or not timestamps.is_due(self.database.connection(), self.export()):
            return False
        with self.database.writing() as db:
            export = self.export()
            if due := timestamps.is_due(db, export):
                timestamps.renew(db, export, key=key, days=self.days("timestamp.days"))
        return due

    def close(self) -> None:
        """Close the database."""
        self.database.close()

    @contextmanager
    def alone(self, purpose: str, *, together: bool = False) -> Iterator[None]:
        """Hold the folder's lock: one server, or one check, at a time. It ends with its process, however that ends.

        Args:
            purpose: What the caller is about to do, for messages.
            together: Hold it beside others that do so, as the servers of a registry that is shared.

        Raises:
            InUseError: another process holds it. ConfigError: the folder cannot be written.
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
                fcntl.flock(descriptor, (fcntl.LOCK_SH if together else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            except BlockingIOError as error:
                holder = os.pread(descriptor, 200, 0).decode("utf-8", "replace").strip() or "another process"
                raise InUseError(
                    f"{self.folder} is in use by {holder}", f"stop it before you {purpose}, or use another folder"
                ) from error
            with contextlib.suppress(OSError):  # on a full disk the lock holds all the same, without its holder's name
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"process {os.getpid()} ({purpose}) on {socket.gethostname()}".encode(), 0)
            with self.database.alone(purpose, together=together):
                yield
        finally:
            os.close(descriptor)


def create(
    folder: Path, *, name: str, url: str, audit: str, closed: bool = False,
    root: RootKeys | None = None, online_keys: Path | None = None, database: str | None = None,
) -> Registry:  # fmt: skip
    """Lay out a new registry with an empty keyring.

    Without `root` the root key is made here, beside the online keys, and signs the keyring as version 1. With the
    public keys of a root that is kept elsewhere no private key gets into the folder, and the keyring waits for its
    signatures. A `closed` registry is so from its first moment: nobody reads without an access token, and
    repositories begin private.

    Args:
        online_keys: where the keys are that a server needs; by default in the folder, with `root` beside it.
        database: address of a PostgreSQL server; by default a file in the folder.

    Raises:
        UsageError: the folder or the database holds something already, or the address or name cannot be one.
        ConfigError: it cannot be written.
        DatabaseUnavailableError: the database's server cannot be reached.
    """
    url = _check_url(url)
    database = database_place.choose(folder, database)
    if database is not None:
        _check_empty(folder, database)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not empty: nothing was changed", "choose a new folder with --dir")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        if database is None:
            (folder / BLOBS).mkdir()
        (folder / "keys").mkdir(mode=0o700)
    except OSError as error:
        raise ConfigError(
            f"cannot write {folder}: {error.strerror}", "choose a folder that you may write to"
        ) from error
    if root is not None and online_keys is None:
        online_keys = folder.absolute().with_name(f"{folder.absolute().name}-online-keys")
    if online_keys is not None:
        online_keys = online_keys.absolute()
        if online_keys.is_relative_to(folder.absolute()):
            raise UsageError(f"{online_keys} is inside {folder}", "--online-keys is a folder outside --dir")
    registry = Registry(folder, database=database)
    try:
        if database is not None:
            database_place.note(folder, database)
        places = RegistryKeys(folder, online_keys)
        own: keys.SigningKey | None = None
        if root is None:
            own = keys.generate(ROOT_KEY, folder=places.folder)
            root = root_keys.one_key(own.public)
        online = places.make_online()
        schema.migrate(registry.database)
        when = dates()
        keyring = Keyring(
            registry=url, version=1, issued=when["issued"], expires=when["expires"], root=root, online=online,
            log=places.make_log_keys(origin_of(url)),
        )  # fmt: skip
        with registry.database.writing() as db:
            if accounts.read_setting(db, "created"):  # another `init` was faster
                raise _is_taken(registry.database)
            accounts.write_setting(db, SHARED, "no")
            database_place.make_id(folder, db)
            values = {"name": name, "url": url, "audit": audit, "created": stamp()}
            values |= {ONLINE_KEYS: str(online_keys or "")} | root_settings(root)
            for key, value in (values | (CLOSED if closed else {})).items():
                accounts.write_setting(db, key, value)
            if own is None:
                root_rows.set_pending_keyring(db, keyring.to_bytes(), now=stamp())
            else:
                accounts.add_keyring(db, version=1, envelope=(sealed := seal(keyring, own)), now=stamp())
                log_entries.add_keyring(db, sealed, root)
    except BaseException:
        registry.close()
        shutil.rmtree(folder / BLOBS, ignore_errors=True)
        shutil.rmtree(folder / "keys", ignore_errors=True)
        own_files = ("registry.db*", f"{database_place.NOTED}*", f"{database_place.ID}*")
        for leftover in [path for pattern in own_files for path in folder.glob(pattern)]:
            leftover.unlink()
        raise
    registry.audit_log.write("init", name=name, url=url, audit=audit, closed=closed, root=root.fingerprint)
    if own is not None:
        registry.renew_timestamp()
    return registry


def _check_empty(folder: Path, address: str) -> None:
    """Before anything is made: whether the server is there, and its database holds no registry.

    Raises:
        UsageError: it holds one.
    """
    database = Database(database_place.find(folder, address))
    try:
        if not schema.is_empty(database):
            raise _is_taken(database)
    finally:
        database.close()


def _is_taken(database: Database) -> UsageError:
    return UsageError(
        f"{database.name} holds a registry already: nothing was changed",
        "choose another database, or a schema of its own by ?options=-csearch_path%3DNAME",
    )


def current_advisories(registry: Registry, keyring: Keyring) -> dsse.Envelope | None:
    """The advisories that were signed last, if by the key that `keyring` names for them.

    `repositories.advisories` signs them anew where something changed.
    """
    held, named = withdrawals.feed(registry.database.connection()), (keyring.online or {}).get("advisories")
    if held is None or named is None:
        return None
    envelope = advisories.read_envelope(bytes(held["envelope"]))
    return envelope if envelope.keyid == named.fingerprint else None


def dates(registry: Registry | None = None) -> dict[str, str]:
    """When a keyring that is written now is issued, and when it expires (setting `keyring.days`)."""
    days = float(SETTINGS["keyring.days"].default) if registry is None else registry.days("keyring.days")
    return {"issued": instants.write(now()), "expires": instants.write(now() + timedelta(days=days))}


def root_settings(root: RootKeys) -> dict[str, str]:
    """A root as settings: its keys, their PEM texts, and what sites pin."""
    pem = "".join(key.public_key_pem for key in root.keys)
    return {ROOT: root.model_dump_json(), "root_key": pem, "root_fingerprint": root.fingerprint}


def _check_url(url: str) -> str:
    """The address as clients will spell it.

    Raises:
        UsageError: no client could use it, or the keyring cannot name it.
    """
    try:
        checked = config.check_registry(url)
        if config.folder_of(checked) is not None:
            raise ConfigError(f"not the address of a registry: {url!r}", "give one such as https://hub.example.org")
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
