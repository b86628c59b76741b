"""The next keyring: signed at once where the root key is here, else kept until it is signed elsewhere."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from embhub.errors import ConfigError
from embhub.site.signing.keys import SigningKey
from embhub.trust import dsse
from embhub.trust import keyring as keyrings
from embhub.trust.keyring import Keyring
from embhub_registry.database import Connection
from embhub_registry.database.clock import stamp
from embhub_registry.database.logs import root_rows
from embhub_registry.database.people import accounts
from embhub_registry.people import notifications
from embhub_registry.repositories import audit_standing
from embhub_registry.storage import log_entries
from embhub_registry.storage.folder import Registry, dates, seal


@dataclass(frozen=True)
class Next:
    """A keyring that was stored: in force, or `pending` until the root signs it."""

    version: int
    pending: bool

    def facts(self) -> dict[str, int | bool]:
        """For the result of a command."""
        return {"keyring_version": self.version, "pending": self.pending}


def latest(registry: Registry) -> Keyring:
    """What the next change is made to: the keyring that waits for signatures, else the one in force."""
    waiting = root_rows.pending_keyring(registry.database.connection())
    return registry.trust().keyring if waiting is None else keyrings.parse_keyring(waiting)


def store(registry: Registry, db: Connection, keyring: Keyring, *, without: str = "", raised_to: int = 0) -> Next:
    """Make `keyring` the next version; `without` is a key that signs no more, so that lists count its audits anew.

    Raises:
        ConfigError: the folder holds another root key than the registry's.
    """
    current = registry.trust().keyring.version
    version = max(current + 1, raised_to)
    following = Keyring.model_validate(
        keyring.model_copy(update={"version": version, **dates(registry)}).model_dump(by_alias=True)
    )
    root = _local_root(registry)
    if root is None:
        root_rows.set_pending_keyring(db, following.to_bytes(), now=stamp())
        return Next(version, pending=True)
    put_in_force(db, following, seal(following, root), without=without)
    return Next(version, pending=False)


def put_in_force(db: Connection, keyring: Keyring, envelope: bytes, *, without: str = "") -> None:
    """Store a signed keyring; nothing waits any more."""
    for namespace in _changed(accounts.newest_keyring(db), keyring):
        notifications.emit(db, "key.changed", namespace=namespace, keyring_version=keyring.version)
    accounts.add_keyring(db, version=keyring.version, envelope=envelope, now=stamp())
    if keyring.root is not None:
        log_entries.add_keyring(db, envelope, keyring.root)
    root_rows.set_pending_keyring(db, None, now=stamp())
    if without:
        audit_standing.refresh_some(db, keyring, fingerprint=without)


def _changed(before: tuple[int, bytes] | None, keyring: Keyring) -> list[str]:
    """The namespaces whose keys are not as they were."""
    new = _keys(keyring.to_bytes())
    old = new if before is None else _keys(dsse.decode(json.loads(before[1])["payload"]))
    return sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))


def _keys(payload: bytes) -> dict[str, Any]:
    return {member["namespace"]: member["keys"] for member in json.loads(payload)["members"]}


def _local_root(registry: Registry) -> SigningKey | None:
    """The root key of this folder, where it alone may sign."""
    key = registry.private_keys.local_root()
    if key is None:
        return None
    if key.fingerprint != registry.setting("root_fingerprint"):
        raise ConfigError(f"{registry.private_keys.folder} holds another root key", "restore the one that `init` made")
    return key


def refresh_audits(db: Connection, keyring: Keyring, *, before: Keyring | None) -> None:
    """Count audits anew that were signed by keys which `keyring` revokes or leaves out."""
    gone = before.fingerprints() - keyring.fingerprints() if before else set()
    revoked = {row.fingerprint for row in keyring.revoked if before is None or row not in before.revoked}
    for fingerprint in sorted(gone | revoked):
        audit_standing.refresh_some(db, keyring, fingerprint=fingerprint)
