"""Taking the audit log's lines into the database, where several servers share them, and back into files of a month."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from embhub.durable import sync, write_atomic
from embhub.errors import ConfigError
from embhub_registry.database import Connection
from embhub_registry.database.logs import audit_head, audit_lines
from embhub_registry.database.logs.audit_head import Head
from embhub_registry.storage.audit.audit_log import DATABASE, AuditLog

KEPT = ".moved"  # ends the name of a file whose lines were taken into the database


def to_database(log: AuditLog, db: Connection) -> list[Path]:
    """Copy every line, within the transaction that moves the head; returns the files that hold nothing new any more.

    The caller keeps servers out, and renames them once it has committed (`set_aside`).

    Raises:
        ConfigError: the chain is broken.
    """
    if problems := log.problems():
        raise ConfigError(f"the audit log is not whole: {problems[0]}", "`audit verify` says more; nothing was changed")
    head, files = log.head(), log.segments()
    if head.place == DATABASE:  # those of a registry that was restored
        return []
    rows: list[tuple[int, str, str]] = []
    number, rest = head.first_number, head.size
    for file in files:
        month = head.segment if file == log.path else file.stem.removeprefix(f"{log.path.stem}-")
        with file.open("rb") as stream:
            for line in stream:
                if file == log.path:
                    rest -= len(line)
                    if rest < 0:
                        break
                number += 1
                rows.append((number, month, line.decode("utf-8").rstrip("\n")))
    audit_lines.append(db, rows)
    audit_head.write(db, replace(head, size=0, place=DATABASE))
    return files


def set_aside(files: list[Path]) -> list[str]:
    """Give files of which the lines are elsewhere another name; the names that they have now."""
    for file in files:
        file.rename(file.with_name(file.name + KEPT))
        sync(file.parent)
    return [file.name + KEPT for file in files]


def to_files(log: AuditLog, db: Connection) -> Head:
    """Write every line into files of a month, durable, within the transaction that moves the head.

    Killed before it has committed, the files count for nothing, and are written again.

    Raises:
        ConfigError: the chain is broken, or the folder cannot be written.
    """
    if problems := log.problems():
        raise ConfigError(f"the audit log is not whole: {problems[0]}", "`audit verify` says more; nothing was changed")
    head, size, month = log.head(), 0, ""
    stream = None
    try:
        for _, month_of_line, text in audit_lines.read(db, until=head.number):
            if month_of_line != month or stream is None:
                _finish(stream)
                month, size = month_of_line, 0
                stream = _file(log.path, month, head).open("wb")
            size += stream.write(f"{text}\n".encode())
        _finish(stream)
    except OSError as error:
        raise ConfigError(f"cannot write beside {log.path}: {error.strerror}", "free space there") from error
    if month != head.segment:  # no line of the open month is left
        write_atomic(log.path, b"", mode=0o600)
        size = 0
    head = replace(head, size=size, place="file")
    audit_head.write(db, head)
    audit_lines.remove(db, until=head.number)
    sync(log.path.parent)
    return head


def _file(path: Path, month: str, head: Head) -> Path:
    file = path if month == head.segment else path.with_name(f"{path.stem}-{month}{path.suffix}")
    file.touch(mode=0o600)
    return file


def _finish(stream: BinaryIO | None) -> None:
    if stream is not None:
        stream.flush()
        os.fsync(stream.fileno())
        stream.close()
