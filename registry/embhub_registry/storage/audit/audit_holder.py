"""Which folder holds the files of the audit log, where the database is on a server that other folders lead to as well.

Folder and database note the same random id, and each `serve` makes a new one. So of a folder and its copy the one that
was served last counts. Before that the one counts that a command wrote into: the other one lacks its line. A folder
keeps earlier ids: its database may be recovered to a moment between them.
"""

from __future__ import annotations

import contextlib
import secrets
from pathlib import Path

from embhub.durable import write_atomic
from embhub.errors import ConfigError, EmbhubError
from embhub_registry.database import Connection, Database
from embhub_registry.database.dialects import SQLITE
from embhub_registry.database.people import accounts
from embhub_registry.storage.audit.audit_log import DATABASE, AuditLog

FILE = "audit-ids"  # beside `audit.jsonl`, the newest last
NOTED = "audit_id"  # a setting: the id of the folder that holds the files
KEPT = 2000  # ids


def check(log: AuditLog, database: Database) -> None:
    """Refuse a folder without the files of the audit log, or with fewer lines than the database knows.

    A line is durable in the file before the database knows it, so that only another folder's was never here.

    Raises:
        ConfigError: they are in another folder, as far as the database knows.
    """
    if not _in_files(log, database):
        return
    noted = accounts.read_setting(database.connection(), NOTED)  # before the file: `claim` writes that first
    if (not noted or noted in _read(log.path.parent)) and not log.lacks_lines():
        return
    raise ConfigError(
        f"the audit log of this registry is in another folder than {log.path.parent}: nothing was changed",
        f"use the folder that was served last, or stop its server and bring its {log.path.stem}*.jsonl and {FILE} here;"
        " if they are lost, run `backup recovered`",
    )


def take(log: AuditLog, database: Database) -> None:
    """Note a new id, for a server that is alone; one that cannot be written leaves the one from before.

    Raises:
        ConfigError: as `check`.
    """
    check(log, database)
    if _in_files(log, database):
        with contextlib.suppress(EmbhubError), database.writing() as db:
            claim(log.path.parent, db)


def claim(folder: Path, db: Connection) -> None:
    """Note a new id here and, within the transaction, in the database.

    Raises:
        ConfigError: the folder cannot be written.
    """
    made = secrets.token_hex(16)
    lines = [*_read(folder)[-KEPT + 1 :], made]
    write_atomic(folder / FILE, "".join(f"{line}\n" for line in lines).encode(), mode=0o600)
    accounts.write_setting(db, NOTED, made)


def _in_files(log: AuditLog, database: Database) -> bool:
    return database.dialect is not SQLITE and log.head().place != DATABASE


def _read(folder: Path) -> list[str]:
    try:
        return (folder / FILE).read_text(encoding="ascii").split()
    except FileNotFoundError:
        return []
