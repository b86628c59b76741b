"""A folder and its copy, with the database on a server: the audit log goes on in one, the other one is refused."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from embhub.errors import ConfigError
from embhub_registry.database import Database, schema
from embhub_registry.storage.audit import audit_holder, audit_log
from embhub_registry.storage.audit.audit_log import AuditLog
from tests.support.postgres import Server


@pytest.fixture
def database(postgresql: Server) -> Iterator[Database]:
    made = Database(postgresql.new_schema())
    schema.migrate(made)
    yield made
    made.close()


def copy(log: AuditLog, database: Database) -> AuditLog:
    """The log in a copy of its folder."""
    there = log.path.parent.with_name("copy")
    shutil.copytree(log.path.parent, there)
    return AuditLog(there / log.path.name, database)


def test_a_folder_that_lacks_lines_is_refused(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command in a copy is enough, without serving it: what the other folder wrote would break the chain."""
    first = AuditLog(tmp_path / "first" / "audit.jsonl", database)
    first.path.parent.mkdir()
    audit_holder.take(first, database)
    first.write("one")
    second = copy(first, database)
    audit_holder.check(second, database)
    second.write("two")
    with pytest.raises(ConfigError, match="in another folder"):
        audit_holder.take(first, database)
    audit_holder.check(second, database)
    monkeypatch.setattr(audit_log, "stamp", lambda: "2099-01-01T00:00:00.000Z")
    second.write("three")
    with pytest.raises(ConfigError, match="in another folder"):
        audit_holder.check(first, database)
    audit_holder.take(second, database)
    assert second.problems() == []


def test_a_writer_killed_at_a_months_end_keeps_its_folder(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file has its month's name already, and the head does not know it."""
    log = AuditLog(tmp_path / "audit.jsonl", database)
    audit_holder.take(log, database)
    log.write("one")
    log.path.rename(log.path.with_name(f"audit-{log.head().segment}.jsonl"))
    audit_holder.check(log, database)
    monkeypatch.setattr(audit_log, "stamp", lambda: "2099-01-01T00:00:00.000Z")
    log.write("two")
    assert log.problems() == []
    log.path.unlink()
    with pytest.raises(ConfigError, match="in another folder"):
        audit_holder.check(log, database)
