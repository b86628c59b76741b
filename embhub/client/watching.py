"""Watching a registry's log: every entry is read, the tree is computed again, and what is consistent is cosigned."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from embhub.client import log_reader, logged, mirrors, roots
from embhub.client.http_log import HttpLog
from embhub.client.log_reader import LogSource
from embhub.client.log_tiles import TileProofs
from embhub.client.witness import Witness
from embhub.errors import ConfigError, RegistryError, UsageError
from embhub.log import checkpoints, leaves, merkle
from embhub.log.building import TreeBuilder
from embhub.log.checkpoints import SignedCheckpoint
from embhub.log.errors import ForkedLogError, MalformedLogError
from embhub.log.leaves import Leaf
from embhub.log.notes import VerifierKey
from embhub.refusals import Finding
from embhub.site import config, log_evidence, log_memory, signed, trust_store
from embhub.site.addresses import folder_of
from embhub.trust import differences, p256
from embhub.trust import logged as entries_of
from embhub.trust.keyring import Keyring, Trust


@dataclass(frozen=True)
class Entry:
    """One entry.

    Attributes:
        index: its place in the log.
        identity: the digest of what was signed; empty in an entry of a kind that this version does not know.
        fingerprint: of the key that it names.
        namespace: whose key that is by the keyring, or None.
        hash: of the whole entry, as the log's tree has it.
        is_signed: whether this key made its signature; None where that was not checked. Anybody who writes a log can
            put in an entry that names a key and that nobody signed.
    """

    index: int
    identity: str
    fingerprint: str
    namespace: str | None
    hash: str
    is_signed: bool | None = None


@dataclass(frozen=True)
class Watched:
    """One look at a log.

    Attributes:
        log: its name.
        size: how many entries it has.
        before: how many it had at the look before.
        entries: those that are new since then.
        unknown: those that this site did not sign.
        checkpoint: what was checked.
        witnesses: who cosigned it, and when.
        keyring: what a person has to look at in the registry's keyring.
        unexplained: files with checkpoints that the log signed, and that nothing shows to be of its history.
        cosigned: in words what became of this site's cosignature.
    """

    log: str
    size: int
    before: int
    entries: tuple[Entry, ...]
    unknown: tuple[Entry, ...]
    checkpoint: SignedCheckpoint
    witnesses: Finding
    unexplained: tuple[str, ...] = ()
    keyring: tuple[str, ...] = ()
    cosigned: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        rows = {"entries": [vars(one) for one in self.entries], "unknown": [vars(one) for one in self.unknown]}
        files = {"unexplained": list(self.unexplained), "keyring": list(self.keyring)}
        return {"log": self.log, "size": self.size, "before": self.before, "cosigned": self.cosigned,
                "witnesses": self.witnesses.text, **files, **rows}  # fmt: skip


def find(registry: str) -> tuple[VerifierKey, Trust]:
    """The key of the log of a pinned registry; `registry` may be the address of a copy of it.

    Raises:
        ConfigError: it is not pinned. UsageError: it keeps no log.
    """
    trust = mirrors.kept_keyring(config.check_registry(registry))
    key = logged.site_policy().log_of(trust.origin) or trust.keyring.log_key
    if key is None:
        raise UsageError(f"the keyring of {trust.registry} names no log", "`embhub trust refresh`, or ask its operator")
    return key, trust


def renew(registry: str) -> tuple[str, ...]:
    """Take the newest keyring of a pinned registry, as `pull` does; in words what a person has to look at.

    Raises:
        VerificationError: it is older than the one kept here, or signed by another key. ConfigError: a pin is damaged.
    """
    _, said = roots.trusted_by(registry)
    return tuple(one.text for one in said if one.outcome == "warning")


def unconfirmed(trust: Trust, namespace: str | None) -> tuple[str, ...]:
    """What changed in a namespace and in the log's keys since a person of this site confirmed the keyring, in words."""
    lines = differences.describe(_confirmed(trust), trust.keyring)
    places = (f" {namespace}: ", "key of the transparency log: ") if namespace else ("key of the transparency log: ",)
    return tuple(f"{line}; nobody here confirmed it" for line in lines if any(place in line for place in places))


def is_confirmed(key: VerifierKey, trust: Trust) -> bool:
    """Whether a person of this site confirmed the log's key: by its log policy, or with the keyring that names it."""
    known = _confirmed(trust)
    return key in (logged.site_policy().log_of(trust.origin), known.log_key if known is not None else None)


def _confirmed(trust: Trust) -> Keyring | None:
    places = (place for place in trust_store.addresses() if trust_store.load(place).registry == trust.registry)
    place = next(places, None)
    return trust_store.confirmed(place) if place is not None else None


def is_copy(registry: str) -> bool:
    """Whether the address is a folder, or another one than is pinned: it may be older than what this site saw."""
    address = config.check_registry(registry)
    return folder_of(address) is not None or address not in trust_store.addresses()


def source_of(registry: str) -> HttpLog:
    """The log's files at a registry."""
    address = config.check_registry(registry)
    return HttpLog(address, config.token_for(address))


def fetch(source: LogSource, key: VerifierKey) -> SignedCheckpoint:
    """The newest checkpoint, its signature checked.

    Raises:
        RegistryError: there is none. LogError: it is not this log's.
    """
    data = log_reader.checkpoint(source)
    if data is None:
        raise RegistryError(f"there is no checkpoint of the log {key.name}", "ask the registry's operator")
    return checkpoints.open_signed(data, log=key)


def look(
    source: LogSource, key: VerifierKey, trust: Trust, *, now: datetime, namespace: str | None = None,
    everything: bool = False, is_copy: bool = False,
) -> Watched:  # fmt: skip
    """Read what was added since the look before, and check that the log is what it was, and what it says.

    Args:
        namespace: report what its keys signed and this site's record does not know, from the log's first entry on.
        everything: read the whole log again.
        is_copy: the files are a copy of the registry's, which may be older than what this site saw.

    Raises:
        ForkedLogError: the log was rewritten, or shows fewer entries and does not show that the others are still there.
        LogError: another fault of the log, or of what was sent.
        RegistryError: it was not read, or an older answer came.
    """
    log_evidence.refuse_forked(key)
    found = fetch(source, key)
    logged.say_signatures(found, key, trust)  # raises where the second one is forged
    sent = TileProofs(source)
    before = log_memory.recall(key, book=log_memory.MONITOR)
    _compare(sent, key, found, before, is_copy=is_copy)
    if before is not None and before.size > found.size:
        raise _older(key, found, before, log_memory.settle(key, before, prove=sent.prove, prefix=sent.prefix))
    known = 0 if before is None or everything or namespace is not None else before.size
    data = _read(source, found, known, before)
    log_memory.advance(key, found, prove=sent.prove, prefix=sent.prefix, book=log_memory.MONITOR)
    left = log_memory.settle(key, found, prove=sent.prove, prefix=sent.prefix)
    rows = tuple(_entries(data, known, trust))
    unknown = tuple(_unknown(rows, data, namespace, trust)) if namespace is not None else ()
    return Watched(key.name, found.size, before.size if before else 0, rows, unknown, found,
                   logged.say_witnesses(found, logged.site_policy(), now), tuple(map(str, left)))  # fmt: skip


def cosign(source: HttpLog, found: SignedCheckpoint, key: VerifierKey, witness: Witness, *, time: int) -> str:
    """Cosign the checkpoint that `look` checked, and send that to the registry; in words what became of it.

    Raises:
        ForkedLogError: it does not continue what this witness cosigned before.
    """
    sent = TileProofs(source)
    try:
        line = witness.cosign(found, key, prove=sent.prove, prefix=sent.prefix, time=time)
    except RegistryError as error:
        return f"not cosigned: {error.message}"
    try:
        source.post("cosignature", found.note.with_signatures([line]).to_bytes())
    except RegistryError as error:
        return f"cosigned {found.size:,} entries; the registry did not take it: {error.message}"
    return f"cosigned {found.size:,} entries"


def accept(entries: Iterable[Entry]) -> None:
    """Note entries as known, after a person said so: what was signed, or an entry that nobody signed.

    Raises:
        ConfigError: the record cannot be written.
    """
    signed.note(entry.identity if entry.is_signed else entry.hash for entry in entries)


def _read(source: LogSource, found: SignedCheckpoint, known: int, before: SignedCheckpoint | None) -> list[bytes]:
    """The entries from `known` on; with them the tree that was known becomes the one that was signed."""
    builder = TreeBuilder()
    if known and before is not None:
        builder = TreeBuilder.resume(known, lambda tile: log_reader.read_tile(source, tile))
        if builder.root() != before.root:
            raise _not_its_own(found)
    data = log_reader.entries(source, known, found.size)
    builder.add(map(merkle.leaf_hash, data))
    if builder.root() != found.root:
        raise _not_its_own(found)
    return data


def _not_its_own(found: SignedCheckpoint) -> MalformedLogError:
    return MalformedLogError(
        f"the entries that {found.checkpoint.origin} serves are not those under its checkpoint of {found.size:,}",
        "ask again: a cache may have damaged them; if it stays so, inform the registry's operator",
    )


def _compare(
    sent: TileProofs, key: VerifierKey, found: SignedCheckpoint, before: SignedCheckpoint | None, *, is_copy: bool
) -> None:
    try:
        log_memory.compare(key, found, prove=sent.prove, prefix=sent.prefix, book=log_memory.MONITOR)
    except (RegistryError, MalformedLogError) as error:
        if is_copy or before is None or before.size <= found.size:
            raise
        raise ForkedLogError(
            f"{key.name} shows {found.size:,} entries, and {before.size:,} were seen before. Nothing shows that the"
            " others are still there: the log was cut, or old files answer in its place",
            f"{error.message}; ask its operator, and other members what they see",
        ) from error


def _older(
    key: VerifierKey, found: SignedCheckpoint, before: SignedCheckpoint, left: Sequence[Path]
) -> RegistryError | ForkedLogError:
    if left:
        return unexplained(key.name, tuple(map(str, left)))
    return RegistryError(
        f"{key.name} serves a checkpoint of {found.size:,} entries, and {before.size:,} were seen before",
        "an old answer, perhaps of a cache: ask again; if it stays so, inform the registry's operator",
    )


def unexplained(log: str, files: Sequence[str]) -> ForkedLogError:
    """What is said of checkpoints that a log signed, and that nothing shows to be of its history."""
    return ForkedLogError(
        f"{log} signed a checkpoint that nothing shows to be of its history, and does not show it now: {files[0]}",
        "ask its operator; each run tries again to prove it, and removes the file then",
    )


def _entries(data: Iterable[bytes], first: int, trust: Trust) -> Iterable[Entry]:
    owners = {key.fingerprint: member.namespace for member in trust.keyring.members for key in member.keys}
    for index, entry in enumerate(data, first):
        try:
            leaf: Leaf | None = leaves.parse(entry)
        except MalformedLogError:
            leaf = None  # an entry of a kind that this version does not know
        fingerprint = leaf.fingerprint if leaf else ""
        hashed = merkle.leaf_hash(entry).hex()
        yield Entry(index, leaf.identity if leaf else "", fingerprint, owners.get(fingerprint), hashed)


def _unknown(rows: Iterable[Entry], data: Sequence[bytes], namespace: str, trust: Trust) -> Iterable[Entry]:
    """The entries that name a key of the namespace, and that this site's record does not know."""
    member = next((member for member in trust.keyring.members if member.namespace == namespace), None)
    if member is None:
        raise ConfigError(f"the keyring of {trust.registry} has no member {namespace}", "`embhub trust refresh`")
    held = {key.fingerprint: p256.read_public(key.public_key_pem) for key in member.keys}
    own = signed.known()
    for row, entry in zip(rows, data, strict=True):
        if row.fingerprint in held and not {row.identity, row.hash} & own:
            is_signed = entries_of.is_signed(leaves.parse(entry), held[row.fingerprint])
            yield replace(row, namespace=namespace, is_signed=is_signed)
