"""The entries of a log that a look at it lists: the newest, and those of a namespace that this site does not know."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from embhub.errors import ConfigError
from embhub.log import leaves, merkle
from embhub.log.errors import MalformedLogError
from embhub.log.leaves import Leaf
from embhub.site.signing import signed
from embhub.trust import logged, p256
from embhub.trust.keyring import Trust

MOST_LISTED = 10_000
"""Entries that one look lists: the newest, and as many unknown ones."""


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


class Listing:
    """What is listed of the entries that a look reads: nothing of it counts before all of them were checked."""

    def __init__(self, trust: Trust, namespace: str | None, *, size: int) -> None:
        """`size` is how many entries the log has. Raises ConfigError where the keyring has no such member."""
        members = trust.keyring.members
        self._owners = {key.fingerprint: member.namespace for member in members for key in member.keys}
        self._keys = _keys_of(namespace, trust) if namespace is not None else {}
        self._own = signed.known() if self._keys else frozenset[str]()
        no_key = namespace is not None and not self._keys
        self._first = size - MOST_LISTED
        self.keys = frozenset(self._keys)
        self.said = (f"{namespace}: the keyring holds no key of it, so no entry is compared",) if no_key else ()
        self.newest: list[Entry] = []
        self._signed: list[Entry] = []
        self._invented: list[Entry] = []
        self.more_unknown = self.more_invented = 0

    def carry(self, unknown: Iterable[Entry]) -> None:
        """Keep what an earlier look found, unless this site's record knows it by now."""
        for entry in unknown:
            if not {entry.identity, entry.hash} & self._own:
                (self._signed if entry.is_signed else self._invented).append(entry)

    @property
    def unknown(self) -> tuple[Entry, ...]:
        """Entries that the record does not know, the oldest first; invented ones take no room of those signed."""
        return tuple(sorted((*self._signed, *self._invented), key=lambda entry: entry.index))

    def add(self, index: int, data: bytes) -> None:
        """An entry as it was read, not checked yet."""
        if index < self._first and not self._keys:
            return
        leaf = _parse(data)
        fingerprint = leaf.fingerprint if leaf else ""
        hashed = merkle.leaf_hash(data).hex()
        found = Entry(index, leaf.identity if leaf else "", fingerprint, self._owners.get(fingerprint), hashed)
        if index >= self._first:
            self.newest.append(found)
        if leaf is not None and fingerprint in self._keys and not {found.identity, hashed} & self._own:
            self._report(found, leaf)

    def _report(self, found: Entry, leaf: Leaf) -> None:
        is_signed = logged.is_signed(leaf, self._keys[found.fingerprint])
        place = self._signed if is_signed else self._invented
        if len(place) < MOST_LISTED:
            place.append(replace(found, is_signed=is_signed))
        elif is_signed:
            self.more_unknown += 1
        else:
            self.more_invented += 1


def _parse(data: bytes) -> Leaf | None:
    """The entry, or None where it is of a kind that this version does not know."""
    try:
        return leaves.parse(data)
    except MalformedLogError:
        return None


def _keys_of(namespace: str, trust: Trust) -> dict[str, p256.PublicKey]:
    """The keys of a member by fingerprint. Raises ConfigError where the keyring has no such member."""
    member = next((member for member in trust.keyring.members if member.namespace == namespace), None)
    if member is None:
        raise ConfigError(f"the keyring of {trust.registry} has no member {namespace}", "`embhub trust refresh`")
    return {key.fingerprint: p256.read_public(key.public_key_pem) for key in member.keys}
