"""Which keyrings a registry's log holds: an entry for each root key that signed one, in the order of their coming."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from embhub.client.log import log_reader, logged
from embhub.client.log.http_log import HttpLog
from embhub.client.log.log_reader import FolderLog, LogSource
from embhub.errors import ConfigError, RegistryError, UsageError
from embhub.log import checkpoints, leaves
from embhub.log.checkpoints import SignedCheckpoint
from embhub.log.errors import MalformedLogError
from embhub.log.notes import VerifierKey
from embhub.refusals import RollbackError
from embhub.site import config
from embhub.trust import dsse
from embhub.trust import logged as entries
from embhub.trust.multisig import SignedDocument
from embhub.trust.origin import origin_of
from embhub.trust.proposal import Opened
from embhub.trust.root_keys import NamedKey

FOLDER = "log"


@dataclass(frozen=True)
class Found:
    """The entry of a keyring: its index, and the SHA-256 of what was signed."""

    index: int
    digest: bytes


def check_newest(opened: Opened, place: str, *, now: datetime) -> str:
    """Whether the keyring in force by a proposal is the newest one in the witnessed log; how that is known, in words.

    Args:
        place: an address, or a folder with the log in it: an export, a mirror.
        now: the present, for the age of cosignatures.

    Raises:
        RollbackError: the log holds a later keyring, or not this one.
        ConfigError: this machine's log policy names no quorum of witnesses, or none cosigned lately.
        LogError: the log is forged, damaged or forked. RegistryError: it cannot be read, or is too long.
        UsageError: the proposal is a registry's first keyring, or that names no log.
    """
    before, ring = opened.proposal.before, opened.before
    policy = logged.site_policy()
    key = None if ring is None else policy.log_of(origin_of(ring.registry)) or ring.log_key
    if before is None or key is None:
        raise UsageError("no keyring in force names a log", "leave --log out")
    if not policy.asks_for_witnesses:
        raise ConfigError(
            "this machine's log policy names no quorum of witnesses, and a log that nobody witnessed shows nothing",
            "embhub log policy --witness KEY, with the keys of witnesses that you know",
        )
    source = _source(place)
    signed = newest_checkpoint(source, key)
    said = logged.witness_finding(signed, policy, now)
    if said.outcome != "ok":
        raise ConfigError(f"the log at {place} shows nothing: {said.text}", "bring a newer copy of the log")
    logged.compare(key, signed, source)
    roots = [*opened.root.keys, *(opened.change.before.keys if opened.change is not None else ())]
    index = check_last(list_keyrings(source, signed, roots), before)
    return f"entry {index:,} of {signed.size:,}, no keyring after it; {said.text}"


def list_keyrings(source: LogSource, signed: SignedCheckpoint, roots: Iterable[NamedKey]) -> list[Found]:
    """Every keyring under a checkpoint that one of these root keys signed. What a stranger put in their names is none.

    Raises:
        MalformedLogError: the entries are not those under the checkpoint. RegistryError: they cannot be read.
    """
    keys, found = {key.fingerprint: key.public for key in roots}, list[Found]()
    for index, data in enumerate(log_reader.whole(source, signed)):
        try:
            leaf = leaves.parse(data)
        except MalformedLogError:  # of a kind that this version does not know
            continue
        if leaf.fingerprint in keys and entries.is_signed(leaf, keys[leaf.fingerprint]):
            found.append(Found(index, leaf.digest))
    return found


def check_last(found: Iterable[Found], document: SignedDocument) -> int:
    """The index of a keyring's first entry, where no other keyring comes after it.

    Raises:
        RollbackError: one does, or this one is not there.
    """
    own = leaves.of_signature(dsse.pae(document.payload_type, document.payload), signature=b"", key=b"").digest
    rows = list(found)
    first = next((row.index for row in rows if row.digest == own), None)
    hint = "do not sign, and do not restore from this: have the operator find the newest keyring"
    if first is None:
        raise RollbackError("the log does not hold the keyring that is in force by this file", hint)
    if later := [row for row in rows if row.index > first and row.digest != own]:
        raise RollbackError(f"the log holds a later keyring: entry {later[-1].index:,}, after entry {first:,}", hint)
    return first


def _source(place: str) -> LogSource:
    if place.startswith(("http://", "https://")):
        address = config.check_registry(place)
        return HttpLog(address, config.token_for(address))
    return FolderLog(Path(place) / FOLDER)


def newest_checkpoint(source: LogSource, key: VerifierKey) -> SignedCheckpoint:
    """The checkpoint of a log, its signature checked. Raises LogError, and RegistryError where there is none."""
    data = log_reader.checkpoint(source)
    if data is None:
        raise RegistryError("no log is there", "name a folder that holds `log/checkpoint`, or an address")
    return checkpoints.open_signed(data, log=key)
