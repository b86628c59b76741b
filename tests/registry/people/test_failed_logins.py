"""Failed log-ins reach the audit log, in bounded numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from embhub_registry.database import Database, schema
from embhub_registry.people.login.failed_logins import MOST, FailedLogins
from embhub_registry.storage.audit.audit_log import AuditLog


def new_audit_log(folder: Path) -> AuditLog:
    database = Database(folder / "registry.db")
    schema.migrate(database)
    return AuditLog(folder / "audit.jsonl", database)


def written(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_repeated_failures_are_one_line(tmp_path: Path) -> None:
    attempts, audit_log = FailedLogins(), new_audit_log(tmp_path)
    for _ in range(1000):
        attempts.note("10.0.0.1", "expired")
    attempts.note(None, "unknown")
    attempts.write(audit_log)
    attempts.write(audit_log)
    rows = written(audit_log.path)
    assert [(row["event"], row["client"], row["reason"], row["times"]) for row in rows] == [
        ("login-failed", "10.0.0.1", "expired", 1000),
        ("login-failed", None, "unknown", 1),
    ]


def test_many_clients_are_counted_in_one_line(tmp_path: Path) -> None:
    attempts, audit_log = FailedLogins(), new_audit_log(tmp_path)
    for number in range(5000):
        attempts.note(f"10.0.{number // 250}.{number % 250}", "unknown")
    attempts.write(audit_log)
    rows = written(audit_log.path)
    assert len(rows) == MOST + 1 and sum(row["times"] for row in rows) == 5000
