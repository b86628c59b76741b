"""Watching a registry's log: every entry is read, the tree is computed again, and what is consistent is cosigned."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from embhub.client import log_reader, logged, mirrors
from embhub.client.http_log import HttpLog
from embhub.client.log_reader import LogSource
from embhub.client.witness import Witness
from embhub.errors import ConfigError, RegistryError, UsageError
from embhub.log import checkpoints, leaves, merkle
from embhub.log.building import TreeBuilder
from embhub.log.checkpoints import SignedCheckpoint
from embhub.log.errors import ForkedLogError, MalformedLogError
from embhub.log.leaves import Leaf
from embhub.log.notes import VerifierKey
from embhub.refusals import Finding
from embhub.site import config, log_memory, signed
from embhub.trust.keyring import Trust


@dataclass(frozen=True)
class Entry:
    """One entry: its index, the key that signed, and whose it is by the keyring, or None. `identity` is its digest."""

    index: int
    identity: str
    fingerprint: str
    namespace: str | None


@dataclass(frozen=True)
class Watched:
    """One look at a log. `entries` are new since the look before; `unknown` are those that this site did not sign."""

    log: str
    size: int
    before: int
    entries: tuple[Entry, ...]
    unknown: tuple[Entry, ...]
    witnesses: Finding
    cosigned: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        rows = {"entries": [vars(one) for one in self.entries], "unknown": [vars(one) for one in self.unknown]}
        return {"log": self.log, "size": self.size, "before": self.before, "cosigned": self.cosigned,
                "witnesses": self.witnesses.text, **rows}  # fmt: skip


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
    everything: bool = False,
) -> Watched:  # fmt: skip
    """Read what was added since the look before, and check that the log is what it was, and what it says.

    Args:
        namespace: report what its keys signed and this site's record does not know, from the log's first entry on.
        everything: read the whole log again.

    Raises:
        ForkedLogError: the log was rewritten or cut, or its entries are not those under its checkpoint.
        LogError: another fault of the log. RegistryError: it was not read.
    """
    found = fetch(source, key)
    logged.say_signatures(found, key, trust)  # raises where the second one is forged
    before = log_memory.recall(key, book=log_memory.MONITOR)
    known = 0 if before is None or everything or namespace is not None else before.size
    if before is not None and before.size > found.size:
        _advance(source, key, found)  # raises where the two are not of one history
        raise RegistryError(
            f"{key.name} serves a checkpoint of {found.size:,} entries, and {before.size:,} were seen before",
            "an old answer, perhaps of a cache: ask again; if it stays so, inform the registry's operator",
        )
    data = _read(source, found, known, before)
    _advance(source, key, found)
    rows = tuple(_entries(data, known, trust))
    unknown = tuple(_unknown(rows, namespace, trust)) if namespace is not None else ()
    return Watched(key.name, found.size, before.size if before else 0, rows, unknown,
                   logged.say_witnesses(found, logged.site_policy(), now))  # fmt: skip


def cosign(source: HttpLog, key: VerifierKey, witness: Witness, *, time: int) -> str:
    """Cosign the newest checkpoint, and send that to the registry; in words what became of it.

    Raises:
        ForkedLogError: it does not continue what this witness cosigned before. RegistryError: it was not read.
    """
    found = fetch(source, key)
    line = witness.cosign(found, key, prove=_prover(source), time=time)
    try:
        source.post("cosignature", found.note.with_signatures([line]).to_bytes())
    except RegistryError as error:
        return f"cosigned {found.size:,} entries; the registry did not take it: {error.message}"
    return f"cosigned {found.size:,} entries"


def accept(entries: Iterable[Entry]) -> None:
    """Note entries as this site's own, after a person said so. Raises ConfigError."""
    signed.note(entry.identity for entry in entries)


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


def _not_its_own(found: SignedCheckpoint) -> ForkedLogError:
    return ForkedLogError(
        f"the entries that {found.checkpoint.origin} serves are not those under its checkpoint of {found.size:,}",
        "read it again; if it stays so, inform the registry's operator and its other members",
    )


def _advance(source: LogSource, key: VerifierKey, found: SignedCheckpoint) -> None:
    log_memory.advance(key, found, prove=_prover(source), book=log_memory.MONITOR)


def _prover(source: LogSource) -> log_memory.Prove:
    def prove(first: int, second: int) -> Sequence[bytes]:
        return log_reader.prove_consistency(source, first, second)

    return prove


def _entries(data: Iterable[bytes], first: int, trust: Trust) -> Iterable[Entry]:
    owners = {key.fingerprint: member.namespace for member in trust.keyring.members for key in member.keys}
    for index, entry in enumerate(data, first):
        try:
            leaf: Leaf | None = leaves.parse(entry)
        except MalformedLogError:
            leaf = None  # an entry of a kind that this version does not know
        fingerprint = leaf.fingerprint if leaf else ""
        yield Entry(index, leaf.identity if leaf else "", fingerprint, owners.get(fingerprint))


def _unknown(rows: Iterable[Entry], namespace: str, trust: Trust) -> Iterable[Entry]:
    if namespace not in {member.namespace for member in trust.keyring.members}:
        raise ConfigError(f"the keyring of {trust.registry} has no member {namespace}", "`embhub trust refresh`")
    own = signed.known()
    return [row for row in rows if row.namespace == namespace and row.identity not in own]
