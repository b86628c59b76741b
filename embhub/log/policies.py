"""Which log and which witnesses a site relies on: a `tlog-policy` file (C2SP), its quorum, and how that is met."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from embhub.log import notes
from embhub.log.checkpoints import Cosignature
from embhub.log.errors import malformed
from embhub.log.notes import VerifierKey

MAX_BYTES = 64_000
MAX_LINES = 1_000
NONE = "none"
_LEAST = "any", "all"  # how many of a group, in a word
_WHAT = "log policy"
_ALLOWED = re.compile(rb"[\t\n\x20-\x7e\x80-\xff]*")


@dataclass(frozen=True)
class Group:
    """`least` of these members, each a witness or a group, must have cosigned."""

    least: int
    members: tuple[str, ...]


@dataclass(frozen=True)
class LogPolicy:
    """Logs by their keys, witnesses by the names that the file gives them, groups, and the name of the quorum."""

    logs: tuple[VerifierKey, ...] = ()
    witnesses: Mapping[str, VerifierKey] = field(default_factory=dict)
    groups: Mapping[str, Group] = field(default_factory=dict)
    quorum: str = NONE

    @property
    def asks_for_witnesses(self) -> bool:
        """Whether its quorum is more than `none`."""
        return self.quorum != NONE

    def log_of(self, origin: str) -> VerifierKey | None:
        """The key that it names for this log, or None."""
        return next((log for log in self.logs if log.name == origin), None)

    def is_met_by(self, cosigners: Collection[VerifierKey]) -> bool:
        """Whether cosignatures of these witnesses are a quorum."""
        return not self.asks_for_witnesses or self._has(self.quorum, cosigners)

    def time_of(self, cosignatures: Iterable[Cosignature]) -> int | None:
        """The latest time (seconds since 1970) at which a quorum vouched; None where there is no quorum, or no need."""
        newest = sorted(cosignatures, key=lambda one: one.time, reverse=True)
        for count in range(1, len(newest) + 1):
            if self.asks_for_witnesses and self.is_met_by({one.witness for one in newest[:count]}):
                return newest[count - 1].time
        return None

    def _has(self, name: str, cosigners: Collection[VerifierKey]) -> bool:
        if name in self.witnesses:
            return self.witnesses[name] in cosigners
        group = self.groups[name]
        return sum(self._has(member, cosigners) for member in group.members) >= group.least


def parse(data: bytes) -> LogPolicy:
    """Read a policy.

    Raises:
        MalformedLogError: a line that is none, a name that is not defined above or is used twice, a key twice, or no
            quorum, or several.
    """
    if len(data) > MAX_BYTES or data.count(b"\n") > MAX_LINES or not _ALLOWED.fullmatch(data):
        raise malformed(_WHAT, "it is too long, or has control characters")
    if data and not data.endswith(b"\n"):
        raise malformed(_WHAT, "it does not end with a line's end, so it may be cut off")
    reader = _Reader()
    for number, line in enumerate(data.decode("utf-8", "surrogateescape").split("\n"), 1):
        words = [word for word in re.split("[ \t]+", line) if word]
        if words and not words[0].startswith("#"):
            reader.take(words, number)
    if reader.quorum is None:
        raise malformed(_WHAT, "it has no quorum line")
    return LogPolicy(tuple(reader.logs), reader.witnesses, reader.groups, reader.quorum)


class _Reader:
    def __init__(self) -> None:
        self.logs: list[VerifierKey] = []
        self.witnesses: dict[str, VerifierKey] = {}
        self.groups: dict[str, Group] = {}
        self.quorum: str | None = None
        self._members: set[str] = set()

    def take(self, words: list[str], number: int) -> None:
        match words:
            case ["log", key] | ["log", key, _]:
                self.logs.append(self._key(key, (notes.ED25519,), self.logs, number))
            case ["witness", name, key] | ["witness", name, key, _]:
                self._check_new(name, number)
                self.witnesses[name] = self._key(key, notes.WITNESSES, self.witnesses.values(), number)
            case ["group", name, least, *members] if members:
                self._check_new(name, number)
                self.groups[name] = self._group(least, members, number)
            case ["quorum", name] if self.quorum is None:
                self._check_known(name, number, none=True)
                self.quorum = name
            case _:
                raise malformed(_WHAT, f"line {number} is none of log, witness, group and (once) quorum")

    def _key(self, text: str, kinds: Collection[int], others: Iterable[VerifierKey], number: int) -> VerifierKey:
        key = notes.parse_key(text)
        if key.kind not in kinds:
            raise malformed(_WHAT, f"the key in line {number} is of another type")
        if any(other.raw == key.raw for other in others):
            raise malformed(_WHAT, f"the key in line {number} stands twice")
        return key

    def _group(self, least: str, members: list[str], number: int) -> Group:
        for member in members:
            self._check_known(member, number, none=False)
            if member in self._members:
                raise malformed(_WHAT, f"line {number}: {ascii(member)[:60]} is a member already")
            self._members.add(member)
        count = dict(zip(_LEAST, (1, len(members)), strict=True)).get(least)
        if count is None:
            count = int(least) if re.fullmatch("[1-9][0-9]{0,3}", least) else 0
        if not 1 <= count <= len(members):
            raise malformed(_WHAT, f"line {number} asks for {ascii(least)[:20]} of {len(members)} members")
        return Group(count, tuple(members))

    def _check_new(self, name: str, number: int) -> None:
        if name in (NONE, *_LEAST) or name in self.witnesses or name in self.groups:
            raise malformed(_WHAT, f"line {number}: the name {ascii(name)[:60]} is taken")

    def _check_known(self, name: str, number: int, *, none: bool) -> None:
        if name not in self.witnesses and name not in self.groups and not (none and name == NONE):
            raise malformed(_WHAT, f"line {number}: {ascii(name)[:60]} is not defined above")
