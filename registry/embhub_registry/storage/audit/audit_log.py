"""The audit log: one JSON object a line, each naming the SHA-256 of the line before; no token ever enters it.

The number and digest of the last line, the head, stand in the database. Whoever edits, removes, reorders or cuts lines
has to change every later line and the head as well; a head that was written down elsewhere shows that too.
A line is written within the transaction that moves the head, so that commands and servers share one log. The open
segment is `audit.jsonl`; at a month's end it becomes `audit-2026-11.jsonl`. Where several servers share a registry, the
lines are in the database (`audit_places` takes them there and back): the same lines, the same chain.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from embhub.durable import sync
from embhub.errors import ConfigError, RegistryError
from embhub_registry.database import Connection, Database
from embhub_registry.database.clock import stamp
from embhub_registry.database.logs import audit_head, audit_lines
from embhub_registry.database.logs.audit_head import Head
from embhub_registry.storage.audit.actors import present
from embhub_registry.storage.logs import log, redact

DATABASE = "database"  # the place of lines that several servers share
KEPT = 16_000  # characters of unsealed text that are kept in the event that tells of it
LONGEST_LINE = 1_000_000  # bytes that hold any last line
Event = tuple[str, Mapping[str, Any]]


class AuditLog:
    """The log beside one database."""

    def __init__(self, path: Path, database: Database) -> None:
        self.path = path
        self._database = database

    def write(self, event: str, **fields: Any) -> None:
        """Note an event: what (`repository`, `rule`, …) and when; who and from where is `actors.present()`'s.

        Not inside a transaction.
        """
        self.write_all([(event, fields)])

    def write_all(self, events: Sequence[Event]) -> None:
        """Note several at the cost of one.

        What was done is done: where the disk refuses, or the file is not the database's, they go to the process's log
        instead of undoing it.
        """
        try:
            with self._database.writing() as db:
                head = audit_head.read(db) or self._start()
                if head.place == DATABASE:
                    audit_head.write(db, _store(db, head, events))
                    return
                head, turned = self._turn_month(head)
                head, found = self._seal_rest(self.path, head)
                audit_head.write(db, self._append(head, [*turned, *found, *events]))
        except (OSError, ConfigError, RegistryError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            for event, fields in events:
                log("error", "the audit log cannot be written", reason=reason, missed={"event": event, **fields})

    def head(self) -> Head:
        """The last line's number and digest, as the database holds them."""
        return audit_head.read(self._database.connection()) or self._start()

    def segments(self) -> list[Path]:
        """The log's files, oldest first, the open one last; without those that a pruning was killed before removing.

        None where its lines are in the database.
        """
        head = self.head()
        if head.place == DATABASE:
            return []
        first = head.first_number
        closed = [path for path in self._closed() if not first or _number(_last_line(path)) > first]
        return [*closed, self.path] if self.path.exists() else closed

    def _closed(self) -> list[Path]:
        return sorted(self.path.parent.glob(f"{self.path.stem}-????-??{self.path.suffix}"))

    def _closed_name(self, head: Head) -> Path:
        """What the segment of the head's month is called once that is over."""
        return self.path.with_name(f"{self.path.stem}-{head.segment}{self.path.suffix}")

    def lines(self, *, after: int = 0, head: Head | None = None) -> Iterator[bytes]:
        """Every sealed line up to `head`, oldest first, without its end.

        Args:
            after: Of lines in the database, the number to begin after.
            head: The present one where it is None.
        """
        head = head or self.head()
        if head.place == DATABASE:
            for _, _, text in audit_lines.read(self._database.connection(), after=after, until=head.number):
                yield text.encode()
            return
        rest = head.size
        for segment in self.segments():
            with segment.open("rb") as stream:
                for line in stream:
                    if segment == self.path:
                        rest -= len(line)
                        if rest < 0:
                            return
                    yield line.rstrip(b"\n")

    def unsealed(self) -> int:
        """How many bytes stand after the last sealed line: a killed process's or somebody's; the next event tells."""
        head = self.head()
        if head.place == DATABASE:
            return 0  # a line and the head are one transaction's; what else is there, `problems` names
        return max(0, _size(self.path) - head.size)

    def lacks_lines(self) -> bool:
        """Whether the head's month is here in part, or not at all; a server may write or close it meanwhile."""
        head = self.head()
        if head.place == DATABASE:
            return False
        files = (self.path, self._closed_name(head))  # in this order: the second is the first one's later name
        return all(_size(file) < head.size for file in files)

    def problems(self, *, known: tuple[int, str] | None = None) -> list[str]:
        """What is wrong with the chain; empty when whole. `known` is a head that was written down elsewhere."""
        head = self.head()
        found: list[str] = []
        number, previous, seen = head.first_number, head.first_previous, known is None
        for line in self.lines(head=head):
            fields = _read(line)
            if fields.get("number") != number + 1:
                found.append(f"audit log: after line {number} comes {fields.get('number', 'something else')}")
            elif number and fields.get("previous") != previous:
                found.append(f"audit log: line {number} was changed")
            number = fields["number"] if isinstance(fields.get("number"), int) else number + 1
            previous = digest_of(line)
            seen = seen or (known is not None and known == (number, previous))
            if len(found) >= 20:
                return [*found, "audit log: and more"]
        if number != head.number:
            found.append(f"audit log: it ends with line {number}, the database knows line {head.number}")
        elif number and previous != head.digest:
            found.append(f"audit log: line {number} was changed")
        if head.place == DATABASE and (more := audit_lines.beyond_head(self._database.connection())):
            found.append(f"audit log: {more} lines stand after the last one that the head knows")
        if known is not None and not seen and known[0] > head.first_number:
            found.append(f"audit log: line {known[0]} is not the one that was written down")
        return found

    def prune(self, before: str) -> tuple[list[str], Head]:
        """Remove closed segments of months before `before` (`2026-11`); the log goes on and says where it now begins.

        Raises:
            OSError: a segment cannot be removed.
        """
        gone = self.prunable(before)
        with self._database.writing() as db:
            head = audit_head.read(db) or self._start()
            shared = head.place == DATABASE
            if shared:
                found = audit_lines.last_of(db, before=before)
                last = found[1].encode() if found else b""
                if found:
                    audit_lines.remove(db, until=found[0])
            else:
                last = _last_line(gone[-1]) if gone else b""
            if _number(last) > head.first_number:
                head = replace(head, first_number=_number(last), first_previous=digest_of(last))
            audit_head.write(db, head)
        for segment in () if shared else gone:  # after the head: killed in between, they count for nothing
            segment.unlink()
        return [segment.name for segment in gone], head

    def prunable(self, before: str) -> list[Path]:
        """The closed segments of months before `before`; the names that they would have, of lines in the database."""
        if self.head().place == DATABASE:
            found = audit_lines.months(self._database.connection(), before=min(before, stamp()[:7]))
            return [self.path.with_name(f"{self.path.stem}-{month}{self.path.suffix}") for month in found]
        return [path for path in self._closed() if path.stem.removeprefix(f"{self.path.stem}-") < before]

    @staticmethod
    def _start() -> Head:
        """The head of a log without lines."""
        digest = digest_of(b"")
        return Head(0, digest, stamp()[:7], 0, 0, digest)

    def _turn_month(self, head: Head) -> tuple[Head, list[Event]]:
        """Close the segment of a month that is over; a clock that went back closes nothing.

        Returns:
            The head, and events that say so where that segment ends elsewhere, or there are later ones.
        """
        month = stamp()[:7]
        if month <= head.segment or not head.number:
            return head, []
        closed = self._closed_name(head)
        last = closed if closed.exists() else self.path  # closed already: killed before the head was moved
        self._check_sealed(last, head)
        _, found = self._seal_rest(last, head)
        if last != closed and last.exists():
            last.rename(closed)
        head = replace(head, segment=month, size=0)
        for later in [path for path in self._closed() if path.name > closed.name]:  # the database is an earlier one
            found.append(("audit-log-unsealed", self._set_aside(later, head)))
            later.unlink()
        return head, found

    def _seal_rest(self, path: Path, head: Head) -> tuple[Head, list[Event]]:
        """Events that say so where the file of the head's month does not end where the database says."""
        size = _size(path)
        if size == head.size:
            return head, []
        if size < head.size:
            with path.open("ab") as stream:
                stream.write(b"\n")  # what is cut may end within a line
            return replace(head, size=size + 1), [("audit-log-cut", {"missing_bytes": head.size - size})]
        self._check_sealed(path, head)
        return head, [("audit-log-unsealed", self._set_aside(path, head))]

    @staticmethod
    def _set_aside(path: Path, head: Head) -> dict[str, Any]:
        """Move what stands after the last sealed line into a file of its own, durable before anything is cut."""
        name = f"{path.stem}-unsealed-{head.number}-{stamp().replace(':', '')}{path.suffix}"
        beside = path.with_name(name)
        with path.open("r+b") as stream:
            stream.seek(head.size)
            with os.fdopen(os.open(beside, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b") as kept:
                shutil.copyfileobj(stream, kept)
                kept.flush()
                os.fsync(kept.fileno())
                size = kept.tell()
                kept.seek(0)
                digest = hashlib.file_digest(kept, "sha256").hexdigest()
                kept.seek(0)
                text = kept.read(4 * KEPT).decode("utf-8", "replace")[:KEPT]
            sync(beside.parent)
            stream.truncate(head.size)
        return {"bytes": size, "sha256": digest, "file": name, "text": text}

    def check_belongs(self) -> None:
        """Refuse a file that is not the one whose end this database knows.

        Raises:
            ConfigError: its line there is another.
        """
        head = audit_head.read(self._database.connection())
        if head is not None and head.place != DATABASE and (not head.number or stamp()[:7] == head.segment):
            self._check_sealed(self.path, head)

    @staticmethod
    def _check_sealed(path: Path, head: Head) -> None:
        """Refuse a file whose line at the end of what is sealed is not the one that the database knows."""
        if not head.number or not head.size or not path.exists() or path.stat().st_size < head.size:
            return
        with path.open("rb") as stream:
            stream.seek(max(0, head.size - LONGEST_LINE))
            sealed = stream.read(min(head.size, LONGEST_LINE))
        if not sealed.endswith(b"\n") or digest_of(sealed[:-1].rpartition(b"\n")[2]) != head.digest:
            raise ConfigError(
                f"the database and {path} do not belong together: line {head.number} is another; the file was left as"
                " it is", "check --database and EMBHUB_REGISTRY_DATABASE; if somebody changed the file, move it aside",
            )  # fmt: skip

    def _append(self, head: Head, events: Sequence[Event]) -> Head:
        lines = b""
        for event, fields in events:
            line = _seal(head, event, fields)
            head = replace(head, number=head.number + 1, digest=digest_of(line), size=head.size + len(line) + 1)
            lines += line + b"\n"
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            if os.write(descriptor, lines) != len(lines):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        return head


def _store(db: Connection, head: Head, events: Sequence[Event]) -> Head:
    """Lines in the database; of which month they are, the writer's clock says, which may not go back."""
    rows, month = [], max(stamp()[:7], head.segment)
    unsealed = audit_lines.take_beyond(db, head.number)
    found = [("audit-log-unsealed", _quote(unsealed))] if unsealed else []
    for event, fields in [*found, *events]:
        line = _seal(head, event, fields)
        head = replace(head, number=head.number + 1, digest=digest_of(line), segment=month)
        rows.append((head.number, month, line.decode("ascii")))
    audit_lines.append(db, rows)
    return head


def _quote(lines: Sequence[str]) -> dict[str, Any]:
    """What somebody put after the last sealed line."""
    data = "".join(f"{line}\n" for line in lines).encode()
    text = data.decode()[:KEPT]
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), "file": None, "text": text}


def _seal(head: Head, event: str, fields: Mapping[str, Any]) -> bytes:
    """The line that follows `head`."""
    actor = present()
    known = {"number": head.number + 1, "time": stamp(), "event": event}
    content = {**known, "actor": actor.name, "address": actor.address, **fields, "previous": head.digest}
    return redact(json.dumps(content, ensure_ascii=True, default=str)).encode()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def digest_of(line: bytes) -> str:
    """What the next line names: SHA-256 of a line without its end, in hex."""
    return hashlib.sha256(line).hexdigest()


def _read(line: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(line)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _last_line(segment: Path) -> bytes:
    with segment.open("rb") as stream:
        stream.seek(max(0, segment.stat().st_size - LONGEST_LINE))
        found = stream.read().splitlines()
    return found[-1] if found else b""


def _number(line: bytes) -> int:
    """The number of a line, 0 where it has none."""
    number = _read(line).get("number")
    return number if isinstance(number, int) else 0
