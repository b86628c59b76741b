"""What the database is asked on the event loop's thread: rows by their keys, nothing that grows with what is stored."""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from embhub.release.files import EMBEDDING
from embhub_registry import app
from embhub_registry.database.engines.sqlite import SqliteDatabase
from embhub_registry.database.releases import repositories
from embhub_registry.operation.opening import open_folder
from embhub_registry.storage.folder import Registry
from tests.support import postgres, pushes, releases
from tests.support.servers import RunningRegistry, init_registry
from tests.support.threads import THREAD, serving

NAME = "radboud/prostate-cspca"
# A row by the whole of its key. Of a caller's memberships all are read: as many as an admin gave that person.
BY_KEY = re.compile(
    r"SEARCH (\w+) USING (?:INTEGER PRIMARY KEY \(rowid=\?\)|PRIMARY KEY \(.*\)"
    r"|INDEX (?:sqlite_autoindex_\w+|tombstone_folded|repository_folded|repository_near|withdrawal_digest"
    r"|numbers_same) \(.*\))(?: LEFT-JOIN)?"
)
JOINS = {"COMPOUND QUERY", "UNION ALL", "SCAN CONSTANT ROW", "UNION USING TEMP B-TREE"}  # of rows that other steps find
WHOLE_KEYS = {
    "setting": 1, "namespace": 1, "user": 1, "token": 1, "keyring": 1, "repository": 2, "revision": 2, "entry": 3,
    "ref": 3, "blob": 1, "tombstone": 2, "membership": 1, "home": 2, "access": 2,
    "yank": 3, "withdrawal": 1, "mine": 1, "other": 1,
}  # fmt: skip


pytestmark = pytest.mark.skipif(postgres.CHOSEN, reason="SQLite's own plans are looked at")


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[RunningRegistry, str, set[str], Registry]]:
    """A served registry with a release, a token, and the statements that its event loop's thread ran."""
    running = init_registry(tmp_path)
    running.add_key(releases.SITE, namespace="radboud")
    alice = running.add_user("alice", namespace="radboud")
    statements: set[str] = set()
    open_connection = SqliteDatabase.connection

    def connection(database: SqliteDatabase) -> sqlite3.Connection:
        found = open_connection(database)
        if threading.current_thread().name == THREAD:
            found.set_trace_callback(statements.add)
        return found

    registry = open_folder(running.folder)
    with monkeypatch.context() as patch:
        patch.setattr(SqliteDatabase, "connection", connection)
        with serving(app.build(registry)) as server:
            running.url = f"http://127.0.0.1:{server.config.port}"
            assert pushes.create(running, "prostate-cspca", token=alice).status == 200
            assert pushes.commit(running, NAME, releases.make_release().files, token=alice).status == 200
            statements.clear()
            yield running, alice, statements, registry
    registry.close()


def test_the_event_loop_reads_rows_by_their_keys_alone(
    asked: tuple[RunningRegistry, str, set[str], Registry],
) -> None:
    running, alice, statements, registry = asked
    db = registry.database.connection()
    sha = repositories.find_ref(db, 1, "main")
    info = f"/api/models/{NAME}"
    reads = [
        "/", "/radboud", f"/{NAME}", f"/{NAME}/tree/main", f"/{NAME}/audit/main", f"/compare?with={NAME}&with={NAME}",
        "/healthz", "/readyz", "/metrics", "/embhub/v1/trust", f"/embhub/v1/status/{NAME}",
        "/embhub/v1/audits/" + "0" * 64, "/api/whoami-v2", "/api/models", "/api/models?search=cspca&full=true", info,
        f"{info}/revision/main", f"{info}/revision/nothing", f"{info}/tree/main", f"{info}/refs",
        f"{info}/commits/main", f"{info}/auth-check", f"{info}/user-access-request/pending",
        f"/{NAME}/resolve/main/{EMBEDDING}", f"/{NAME}/resolve/{sha}/{EMBEDDING}", f"/{NAME}/resolve/main/absent",
        "/api/models/radboud/absent",
    ]  # fmt: skip
    for path in reads:
        for token in (None, alice):
            assert running.get(path, token=token).status < 500, path
    files = {"files": [{"path": "README.md", "size": 3, "sample": ""}]}
    for path, body in ((f"{info}/preupload/main", files), (f"{info}/paths-info/main", {"paths": ["README.md"]})):
        assert running.request("POST", path, token=alice, json_body=body).status == 200
    assert len(statements) > 10 and all(line.startswith("SELECT") for line in statements)
    for statement in statements:
        for step in db.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall():
            problem = problem_of(step["detail"])
            assert problem is None, f"{problem}: {step['detail']}\n{statement}"


def problem_of(step: str) -> str | None:
    """What is wrong with one step of a plan; None where it finds a row by its key."""
    if "SUBQUERY" in step or step in JOINS:
        return None  # its own steps follow
    found = BY_KEY.fullmatch(step)
    if found is None:
        return "not by a key"
    whole = "INTEGER PRIMARY KEY" in step or step.count("=?") >= WHOLE_KEYS[found[1]]
    return None if whole else "by a part of a key"


def test_plans_are_told_apart(tmp_path: Path) -> None:
    with open_folder(init_registry(tmp_path).folder).database.writing() as db:
        plans = {
            "SELECT * FROM repository WHERE id = 1": None,
            "SELECT * FROM repository WHERE namespace = 'a'": "by a part of a key",
            "SELECT * FROM entry WHERE repository_id = 1 AND revision_id = 'x'": "by a part of a key",
            "SELECT * FROM repository": "not by a key",
            "SELECT * FROM label WHERE repository_id = 1": "not by a key",
        }
        for statement, problem in plans.items():
            (step,) = db.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()
            assert problem_of(step["detail"]) == problem, step["detail"]
