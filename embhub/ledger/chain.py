"""An append-only file of entries that vouch for each other: a chain of hashes, sealed with the site's key.

Each line is canonical JSON with the SHA-256 of the line before and an HMAC under a key of this site; the head (how many
entries, the last hash) is kept beside the site's key, in another folder. So an edit, a deletion, a change of order, and
a ledger cut short or removed are noticed. Not noticed: whoever can read the site's key can write a history of their
own, and whoever puts back an old ledger together with its old head puts back what was known then.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import rfc8785

from embhub.durable import locked, sync, write_atomic
from embhub.errors import ConfigError, PrivacyError
from embhub.formats import instants, strict_json

_LONGEST_LINE = 100_000
_START = "0" * 64
_RESTORE = "nothing was counted anew; restore ledger, head and site key from a backup, and find out who changed them"


class LedgerTamperedError(PrivacyError):
    """The ledger is not what this site wrote: an entry was changed, removed, moved or added."""


@dataclass(frozen=True)
class Entry:
    """One line: its number from 0 on, when it was written, what kind it is and what it says."""

    number: int
    at: str
    kind: str
    body: Mapping[str, Any]


@dataclass(frozen=True)
class _Head:
    """Where the ledger ends: entries, bytes, and the hash of the last line."""

    count: int = 0
    size: int = 0
    last: str = _START


class Ledger:
    """The file `path`, its kept head and its lock. Use every method inside `locked()`."""

    def __init__(self, path: Path, *, head: Path, key: bytes) -> None:
        self._path, self._head_path, self._key = path, head, key

    def locked(self) -> AbstractContextManager[None]:
        """Keep every other process out; makes the folder if need be.

        Raises:
            ConfigError: the folder cannot be written.
        """
        return locked(self._path)

    def read(self) -> list[Entry]:
        """Every entry, after every hash and seal was checked.

        A last line that a crash cut off, or that was written and not yet noted in the head, is none of the faults:
        nobody was told that it was there.

        Raises:
            LedgerTamperedError: says at which entry.
        """
        data, head = self._bytes(), self._read_head()
        if len(data) < head.size:
            raise LedgerTamperedError(
                f"the ledger {self._path} was cut short: {head.count} entries are known of", _RESTORE
            )
        entries: list[Entry] = []
        last, position = _START, 0
        while (end := data.find(b"\n", position)) >= 0:
            line = data[position:end]
            entries.append(self._open_line(line, number=len(entries), previous=last))
            last, position = hashlib.sha256(line).hexdigest(), end + 1
            if len(entries) == head.count and (position, last) != (head.size, head.last):
                raise LedgerTamperedError(
                    f"entry {head.count - 1} of {self._path} is not the one that was written", _RESTORE
                )
        if len(entries) < head.count:
            raise LedgerTamperedError(
                f"the ledger {self._path} was cut short: {head.count} entries are known of", _RESTORE
            )
        if len(entries) > head.count + 1:  # a crash leaves one entry at most that the head does not know
            raise LedgerTamperedError(f"the ledger's head {self._head_path} is missing, or an older one", _RESTORE)
        if (position, len(entries)) != (head.size, head.count) or len(data) > position:
            self._mend(_Head(len(entries), position, last), cut=len(data) > position)
        return entries

    def append(self, kind: str, body: Mapping[str, Any]) -> Entry:
        """Add an entry; when this returns it is on the disk.

        Raises:
            LedgerTamperedError: the ledger was changed since the last entry.
            ConfigError: the disk is full or cannot be written; then the entry is not there.
        """
        head = self._read_head()
        if self._size() != head.size:
            self.read()
            head = self._read_head()
        entry = Entry(head.count, instants.write(datetime.now(UTC)), kind, dict(body))
        line = self._seal(entry, previous=head.last)
        self._write(line + b"\n", at=head.size)
        self._write_head(_Head(entry.number + 1, head.size + len(line) + 1, hashlib.sha256(line).hexdigest()))
        return entry

    @property
    def tip(self) -> tuple[int, str]:
        """How many entries there are, and the hash of the last: a person may write it down elsewhere."""
        head = self._read_head()
        return head.count, head.last

    def _open_line(self, line: bytes, *, number: int, previous: str) -> Entry:
        fault = LedgerTamperedError(f"entry {number} of {self._path} is not the one that was written", _RESTORE)
        try:
            value = strict_json.exact(
                strict_json.read_object(line, limit=_LONGEST_LINE),
                {"number", "previous", "at", "kind", "body", "seal"},
                what="an entry",
            )
            entry = Entry(value["number"], value["at"], value["kind"], value["body"])
            genuine = hmac.compare_digest(self._seal(entry, previous=previous), line)
        except (strict_json.JsonError, rfc8785.CanonicalizationError, TypeError) as error:
            raise fault from error
        if entry.number != number or not genuine:
            raise fault
        return entry

    def _seal(self, entry: Entry, *, previous: str) -> bytes:
        facts: dict[str, Any] = {
            "number": entry.number,
            "previous": previous,
            "at": entry.at,
            "kind": entry.kind,
            "body": entry.body,
        }
        seal = hmac.new(self._key, b"entry\0" + rfc8785.dumps(facts), hashlib.sha256).hexdigest()
        return rfc8785.dumps({**facts, "seal": seal})

    def _bytes(self) -> bytes:
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise ConfigError(f"cannot read {self._path}: {error.strerror}", "check who may read it") from error

    def _size(self) -> int:
        return self._path.stat().st_size if self._path.exists() else 0

    def _write(self, data: bytes, *, at: int) -> None:
        """Append and sync; what a full disk took of it is taken back."""
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.lseek(descriptor, at, os.SEEK_SET)
                done = 0
                while done < len(data):
                    done += os.write(descriptor, data[done:])
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, at)
                raise
            finally:
                os.close(descriptor)
            if at == 0:
                sync(self._path.parent)
        except OSError as error:
            raise _unwritable(self._path, error) from error

    def _read_head(self) -> _Head:
        try:
            text = self._head_path.read_bytes()
        except FileNotFoundError:
            return _Head()
        except OSError as error:
            raise ConfigError(f"cannot read {self._head_path}: {error.strerror}", "check who may read it") from error
        try:
            value = strict_json.exact(
                strict_json.read_object(text, limit=1000), {"count", "size", "last", "seal"}, what="the head"
            )
            head = _Head(value["count"], value["size"], value["last"])
            genuine = hmac.compare_digest(self._seal_head(head), text)
        except (strict_json.JsonError, rfc8785.CanonicalizationError, TypeError) as error:
            raise LedgerTamperedError(f"the ledger's head {self._head_path} was changed", _RESTORE) from error
        if not genuine:
            raise LedgerTamperedError(f"the ledger's head {self._head_path} was changed", _RESTORE)
        return head

    def _seal_head(self, head: _Head) -> bytes:
        facts: dict[str, Any] = {"count": head.count, "size": head.size, "last": head.last}
        seal = hmac.new(self._key, b"head\0" + rfc8785.dumps(facts), hashlib.sha256).hexdigest()
        return rfc8785.dumps({**facts, "seal": seal})

    def _write_head(self, head: _Head) -> None:
        write_atomic(self._head_path, self._seal_head(head), mode=0o600)

    def _mend(self, head: _Head, *, cut: bool) -> None:
        """After a crash: drop the line that was not finished, and note the one that was."""
        if cut:
            os.truncate(self._path, head.size)
        self._write_head(head)


def _unwritable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"cannot write the privacy ledger {path}: {error.strerror}",
        "nothing was trained and nothing spent; free space, or check who may write there",
    )
