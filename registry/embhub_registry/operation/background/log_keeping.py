"""What an operator does with the log: its keys and its witnesses."""

from __future__ import annotations

from typing import Any

from embhub.errors import EmbhubError, UsageError
from embhub.log import mldsa, notes
from embhub.trust.origin import origin_of
from embhub_registry.database.logs import log_rows
from embhub_registry.operation.keyrings import keyring_changes
from embhub_registry.storage.folder import Registry
from embhub_registry.storage.log import registry_log


def describe(registry: Registry) -> dict[str, Any]:
    """The log's name and key, how large it is, and its witnesses."""
    db, keyring = registry.database.connection(), registry.trust().keyring
    key, second = keyring.log_key, keyring.log_mldsa_key
    signed = log_rows.newest(db)
    rows = [{"vkey": one.vkey, "url": one.url, "cosigned": one.seen} for one in log_rows.witnesses(db)]
    return {
        "vkey": str(key) if key else None, "mldsa": str(second) if second else None,
        "key_is_here": registry_log.key_of(registry) is not None,
        "entries": log_rows.size(db), "signed": signed.size if signed else 0, "witnesses": rows,
    }  # fmt: skip


def begin(registry: Registry, *, anew: bool) -> dict[str, Any]:
    """Make the log's keys, and name them in the next keyring; with `anew` although there are some, which are kept.

    A log that has an Ed25519 key alone gets a second one, of ML-DSA-44, where this machine has ML-DSA-44.

    Raises:
        UsageError: the keyring names the keys that are here, none is missing, and `anew` is not set.
        ConfigError: the folder of online keys cannot be written.
    """
    keys, origin = registry.private_keys, origin_of(registry.setting("url"))
    complete = registry_log.second_key_of(registry) is not None or not mldsa.is_offered()
    if registry_log.key_of(registry) is not None and complete and not anew:
        raise UsageError("this registry keeps a log already", "--anew begins another one, under a new key")
    if anew:
        keys.retire_log_key()
    key = keys.make_log_keys(origin)
    with registry.database.writing() as db:
        following = keyring_changes.latest(registry).model_copy(update={"log": key})
        stored = keyring_changes.store(registry, db, following)
    registry.audit_log.write("log-begun", vkey=key.vkey, keyring=stored.version, pending=stored.pending or None)
    registry.renew_timestamp()
    registry_log.publish_if_possible(registry)
    return {"vkey": key.vkey, "mldsa": key.mldsa, **stored.facts()}


def add_witness(registry: Registry, vkey: str, url: str) -> dict[str, Any]:
    """Accept cosignatures of a witness, and ask it for them at `url`, or wait for it where that is empty.

    Raises:
        UsageError: not the key of a witness, or not an address.
    """
    try:
        key = notes.parse_key(vkey)
    except EmbhubError as error:
        raise UsageError(error.message, "give what `embhub log watch --cosign` prints, in quotes") from error
    if key.kind != notes.COSIGNATURE:
        raise UsageError("this is the key of a log", "give the key of a witness: `embhub log watch --cosign` prints it")
    if url and not url.startswith(("https://", "http://")):
        raise UsageError(f"{url!r} is not an address", "it begins with https://")
    with registry.database.writing() as db:
        log_rows.set_witness(db, vkey, url.rstrip("/"))
    registry.audit_log.write("log-witness-added", vkey=vkey, url=url or None)
    return {"vkey": vkey, "url": url}


def remove_witness(registry: Registry, vkey: str) -> dict[str, Any]:
    """Accept no cosignatures of a witness any more.

    Raises:
        UsageError: there is none with this key.
    """
    with registry.database.writing() as db:
        if not log_rows.remove_witness(db, vkey):
            raise UsageError("there is no such witness", "`log show` lists them")
    registry.audit_log.write("log-witness-removed", vkey=vkey)
    return {"vkey": vkey}
