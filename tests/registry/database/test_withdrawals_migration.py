"""Yanks of earlier releases keep their authority: what the operator or an admin yanked, a publisher does not lift."""

from __future__ import annotations

from pathlib import Path

from embhub_registry.database import Database, schema, yanks
from embhub_registry.database.clock import stamp

STEP = 7


def test_yanks_of_earlier_releases_keep_reason_date_and_authority(tmp_path: Path) -> None:
    database = Database(tmp_path / "registry.db")
    known = schema.known_steps()
    schema.migrate(database, [step for step in known if step.number < STEP])
    with database.writing() as db:
        db.execute("INSERT INTO namespace (name, created) VALUES ('radboud', ?)", (stamp(),))
        for name, role in (("alice", "publisher"), ("root", "admin")):
            db.execute("INSERT INTO user (name, namespace, created) VALUES (?, 'radboud', ?)", (name, stamp()))
            db.execute("INSERT INTO membership SELECT id, 'radboud', ?, created FROM user WHERE name = ?", (role, name))
        db.execute(
            "INSERT INTO repository (id, namespace, name, created, modified, position)"
            " VALUES (1, 'radboud', 'x', ?, ?, 1)",
            (stamp(), stamp()),
        )
        for which, author in (("1.0.0", "alice"), ("1.1.0", "root"), ("1.2.0", "operator")):
            db.execute("INSERT INTO yank VALUES (1, 'version', ?, ?, ?, '2026-01-01')", (which, f"by {author}", author))
    copy = schema.migrate(database, known)
    assert copy is not None and copy.name == f"registry.before-{STEP:03d}.db"
    rows = database.connection().execute("SELECT which, authority, scope, reason, created FROM yank ORDER BY which")
    assert [tuple(row) for row in rows] == [
        ("1.0.0", "publisher", "release", "by alice", "2026-01-01"),
        ("1.1.0", "operator", "release", "by root", "2026-01-01"),
        ("1.2.0", "operator", "release", "by operator", "2026-01-01"),
    ]
    db = database.connection()
    assert yanks.authorities(db, 1, kind="version", which="1.1.0") == {"operator"}
    assert not yanks.remove(db, 1, kind="version", which="1.1.0", authority="publisher")
    database.close()
