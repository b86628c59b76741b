"""What an operator does with the log: its key, its files, its witnesses, and releases from before there was one."""

from __future__ import annotations

from typing import Any

from embhub.errors import EmbhubError, UsageError
from embhub.log import mldsa, notes
from embhub.release import file_names
from embhub.trust.origin import origin_of
from embhub_registry.database import accounts, log_rows, repositories, withdrawals
from embhub_registry.operation import keyring_changes
from embhub_registry.storage import log_entries, registry_log
from embhub_registry.storage.blobs import BlobStoreError, MissingBlobError
from embhub_registry.storage.folder import Registry, current_advisories


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
    collect_earlier(registry)
    registry.renew_timestamp()
    registry_log.publish_if_possible(registry)
    return {"vkey": key.vkey, "mldsa": key.mldsa, **stored.facts()}


def collect_earlier(registry: Registry) -> int:
    """Log what was stored before there was a log; how many entries there are after it."""
    db, trust = registry.database.connection(), registry.trust()
    with registry.database.writing() as writing:
        if (newest := accounts.newest_keyring(db)) is not None:
            log_entries.add_keyring(writing, newest[1], registry.root())
        for repository in repositories.all_repositories(db):
            for revision in reversed(repositories.all_revisions(db, repository.id)):
                _collect(registry, writing, repository.id, revision.id)
        envelope, named = current_advisories(registry, trust.keyring), (trust.keyring.online or {}).get("advisories")
        if envelope is not None and named is not None and withdrawals.feed(db) is not None:
            log_entries.add_envelope(writing, envelope, named.public_key_pem)
    return log_rows.size(db)


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


def _collect(registry: Registry, writing: Any, repository: int, revision: str) -> None:
    keyring = registry.trust().keyring
    for entry in repositories.entries(registry.database.connection(), repository, revision):
        if not file_names.is_attestation(entry.path):
            continue
        try:
            log_entries.add_release(writing, {entry.path: registry.blobs.get(entry.digest)}, keyring)
        except BlobStoreError:
            raise  # it is not lost: to be tried again
        except (EmbhubError, MissingBlobError):  # a bundle of an earlier format, or a blob that `check` names
            continue
