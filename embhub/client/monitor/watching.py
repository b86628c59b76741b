"""Watching a registry's log: every entry is read, the tree is computed again, and what is consistent is cosigned."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from embhub.client.log import log_evidence, log_memory, log_reader, logged
from embhub.client.log.http_log import Answering, HttpLog, PacedLog
from embhub.client.log.log_listing import Entry, Listing
from embhub.client.log.log_reader import LogSource, TileProofs
from embhub.client.monitor.witness import Witness
from embhub.client.trusted import mirrors, vouching
from embhub.errors import RegistryError, UsageError, VerificationError
from embhub.log import checkpoints
from embhub.log.building import TreeBuilder
from embhub.log.checkpoints import SignedCheckpoint
from embhub.log.errors import ForkedLogError, MalformedLogError
from embhub.log.notes import VerifierKey
from embhub.refusals import Finding
from embhub.site import config
from embhub.site.addresses import folder_of
from embhub.site.pins import trust_store
from embhub.site.signing import signed
from embhub.trust import differences
from embhub.trust.keyring import Keyring, Trust

Progress = Callable[[int, int], None]
"""`progress(read, size)`: how many entries were read so far, of how many."""


def no_progress(read: int, size: int) -> None:
    """Say nothing."""


class NotTakenError(RegistryError):
    """A cosignature that this site made and keeps, and that the registry refused or did not get."""


@dataclass(frozen=True)
class Watched:
    """One look at a log.

    Attributes:
        log: its name.
        size: how many entries it has.
        before: how many it had at the look before.
        read: how many were read now.
        entries: the newest of these, at most `MOST_LISTED`.
        unknown: those that this site did not sign, from the oldest on, at most `MOST_LISTED`.
        more_unknown: how many there are beyond these that a key of the namespace signed.
        more_invented: how many there are beyond these that nobody signed.
        checkpoint: what was checked.
        witnesses: who cosigned it, and when.
        keyring: what a person has to look at in the registry's keyring.
        keys: the fingerprints whose entries were compared with this site's record.
        key: the log's.
        refused: why this site's witness did not cosign the checkpoint, or the registry did not take it.
        unexplained: files with checkpoints that the log signed, and that nothing shows to be of its history.
        cosigned: in words what became of this site's cosignature.
    """

    log: str
    size: int
    before: int
    read: int
    entries: tuple[Entry, ...]
    unknown: tuple[Entry, ...]
    checkpoint: SignedCheckpoint
    witnesses: Finding
    unexplained: tuple[str, ...] = ()
    keyring: tuple[str, ...] = ()
    cosigned: str = ""
    more_unknown: int = 0
    more_invented: int = 0
    keys: frozenset[str] = frozenset()
    key: VerifierKey | None = None
    refused: RegistryError | VerificationError | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        rows = {"entries": [vars(one) for one in self.entries], "unknown": [vars(one) for one in self.unknown]}
        files = {"unexplained": list(self.unexplained), "keyring": list(self.keyring)}
        counts = {"size": self.size, "before": self.before, "read": self.read, "more_unknown": self.more_unknown,
                  "more_invented": self.more_invented}  # fmt: skip
        return {"log": self.log, **counts, "cosigned": self.cosigned, "witnesses": self.witnesses.text, **files, **rows}


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
    _, said = vouching.trusted_by(registry)
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


def source_of(registry: str) -> PacedLog:
    """The log's files at a registry, for one reading of them."""
    address = config.check_registry(registry)
    return PacedLog(HttpLog(address, config.token_for(address)))


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
    everything: bool = False, is_copy: bool = False, after: Watched | None = None,
    progress: Progress = no_progress,
) -> Watched:  # fmt: skip
    """Read what was added since the look before, and check that the log is what it was, and what it says.

    One bundle of entries is held, and those that are listed.

    Args:
        namespace: report what its keys signed and this site's record does not know, from the log's first entry on.
        everything: read the whole log again.
        is_copy: the files are a copy of the registry's, which may be older than what this site saw.
        after: an earlier look of this process: with a namespace, too, what it read is not read again.
        progress: called with the entries that were read so far, and the log's size, at every bundle.

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
    listing = Listing(trust, namespace, size=found.size)
    start = _start(key, before, listing, after) if not everything else None
    _read(source, found, start, listing, progress)
    log_memory.advance(key, found, prove=sent.prove, prefix=sent.prefix, book=log_memory.MONITOR)
    left = log_memory.settle(key, found, prove=sent.prove, prefix=sent.prefix)
    read = found.size - (start.size if start is not None else 0)
    return Watched(key.name, found.size, before.size if before else 0, read, tuple(listing.newest),
                   listing.unknown, found, logged.witness_finding(found, logged.site_policy(), now),
                   tuple(map(str, left)), more_unknown=listing.more_unknown,
                   more_invented=listing.more_invented, keys=listing.keys, key=key, keyring=listing.said)  # fmt: skip


def cosign(source: Answering, found: SignedCheckpoint, key: VerifierKey, witness: Witness, *, time: int) -> str:
    """Cosign the checkpoint that `look` checked, and send that to the registry; in words what became of it.

    Raises:
        ForkedLogError: it does not continue what this witness cosigned before.
        RegistryError: it is an earlier state, or nothing shows that it continues that.
        NotTakenError: it is cosigned, and the registry did not take that.
    """
    sent = TileProofs(source)
    try:
        line = witness.cosign(found, key, prove=sent.prove, prefix=sent.prefix, time=time)
    except RegistryError as error:
        raise RegistryError(f"not cosigned: {error.message}", error.hint) from error
    try:
        source.post("cosignature", found.note.with_signatures([line]).to_bytes())
    except RegistryError as error:
        text = f"cosigned {found.size:,} entries; the registry did not take it: {error.message}"
        raise NotTakenError(text, error.hint) from error
    return f"cosigned {found.size:,} entries"


def accept(entries: Iterable[Entry]) -> None:
    """Note entries as known, after a person said so: what was signed, or an entry that nobody signed.

    Raises:
        ConfigError: the record cannot be written.
    """
    signed.note(entry.identity if entry.is_signed else entry.hash for entry in entries)


def _start(
    key: VerifierKey, before: SignedCheckpoint | None, listing: Listing, after: Watched | None
) -> SignedCheckpoint | None:
    """The checkpoint whose entries need not be read again; None where the log is read from its first entry on."""
    if not listing.keys:
        return before
    if before is None or after is None or after.key != key or after.checkpoint.size > before.size:
        return None
    if after.keys != listing.keys or after.more_unknown or after.more_invented:
        return None  # older entries may name a key that is new, and some unknown ones were not listed
    listing.carry(after.unknown)
    return after.checkpoint


def _read(
    source: LogSource, found: SignedCheckpoint, start: SignedCheckpoint | None, listing: Listing, progress: Progress
) -> None:
    """Read the entries after `start`; with them the tree that was known becomes the one that was signed."""
    tree, known = TreeBuilder(), 0
    if start is not None:
        known = start.size
        tree = TreeBuilder.resume(known, lambda tile: log_reader.read_tile(source, tile))
        if tree.root() != start.root:
            raise log_reader.not_its_own(found)
    for tile, entries in log_reader.checked_bundles(source, tree, found):
        progress(tile.first, found.size)
        for index, entry in enumerate(entries, tile.first):
            if index >= known:
                listing.add(index, entry)


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
