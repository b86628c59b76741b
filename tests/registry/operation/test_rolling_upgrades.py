"""A later release beside today's: a rolling step while servers run, and a step that keeps older programs out."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from embhub_registry.database import Database, DatabaseBusyError, schema
from embhub_registry.database.dialects import POSTGRESQL, SQLITE
from embhub_registry.database.engines.postgresql_address import parse_address
from tests.support import later_program, pushes
from tests.support.postgres import Server
from tests.support.replicas import Replicas, make_replicas, wait_for

pytestmark = pytest.mark.thorough
ROLLING = """-- rolling: a column that has a default, and a table that only later programs know.
ALTER TABLE "user" ADD COLUMN later TEXT NOT NULL DEFAULT 'x';
ALTER TABLE repository ADD COLUMN later TEXT NOT NULL DEFAULT 'x';
CREATE TABLE later (id BIGINT PRIMARY KEY);
"""
NOTES = "radboud/notes"


@pytest.fixture
def replicas(tmp_path: Path, postgresql: Server) -> Iterator[Replicas]:
    made = make_replicas(tmp_path, postgresql)
    yield made
    made.stop()


@pytest.fixture
def steps(tmp_path: Path) -> Path:
    folder = tmp_path / "steps"
    folder.mkdir()
    return folder


def push(replicas: Replicas, number: int, text: str, token: str) -> tuple[int, str]:
    """A note; the status and the commit."""
    answer = pushes.commit(replicas[number], NOTES, {"README.md": text.encode()}, token=token)
    if answer.status == 503:
        assert answer.header("Retry-After"), answer.body
    return answer.status, answer.json()["commitOid"] if answer.status == 200 else ""


def commits(replicas: Replicas, number: int, token: str) -> list[str]:
    """The whole history, newest first: a fast machine stores more than one page of it."""
    found: list[str] = []
    page = "main"
    while True:
        answer = replicas[number].get(f"/api/models/{NOTES}/commits/{page}?limit=50", token=token)
        found += [row["id"] for row in answer.json()]
        following = answer.header("Link")
        if following is None:
            return found
        page = following.partition("?")[0].rpartition("/")[2]


def test_old_and_new_side_by_side(replicas: Replicas, postgresql: Server, steps: Path) -> None:
    """The later one migrates while two older ones store; all of them go on, and nothing is lost."""
    replicas.start(0, 1)
    alice = replicas[0].add_user("alice", namespace="radboud")
    pushes.create(replicas[0], "notes", token=alice)
    acknowledged: list[str] = []
    refused: list[int] = []
    ended = threading.Event()

    def store() -> None:
        for turn in range(10_000):
            status, commit = push(replicas, turn % 2, str(turn), alice)
            (acknowledged if status == 200 else refused).append(commit or status)  # type: ignore[arg-type]
            if ended.is_set():
                return

    pusher = threading.Thread(target=store)
    pusher.start()
    try:
        wait_for("each prepared its statements", 60, lambda: len(acknowledged) > 14)
        (steps / "900_more.sql").write_text(ROLLING)
        later_program.start(replicas[2], steps)
        assert "schema 3 → 900: rolls" in replicas[2].log.read_text()
        before = len(acknowledged)
        wait_for("the older ones go on", 60, lambda: len(acknowledged) > before + 4)
    finally:
        ended.set()
        pusher.join()
    assert set(refused) <= {503}, "one whose statement met the migration is asked to try again"
    status, commit = push(replicas, 2, "by the later one", alice)
    acknowledged.append(commit)
    assert status == 200
    for number in range(3):
        found = commits(replicas, number, alice)
        assert [one for one in found if one in acknowledged] == acknowledged[::-1]
        wait_for("ready", 15, lambda: replicas[number].get("/readyz").status == 200)  # noqa: B023  # called at once
    replicas[0].stop()
    replicas.start(0)
    assert push(replicas, 0, "an older one that starts beside it", alice)[0] == 200
    assert replicas[0].run("check", check=False).returncode != 0, "others serve"


def test_a_step_that_keeps_older_programs_out(replicas: Replicas, postgresql: Server, steps: Path) -> None:
    """It waits until they have ended; one that was cut off just then and does not know writes nothing."""
    replicas.start(0, 1)
    alice = replicas[0].add_user("alice", namespace="radboud")
    pushes.create(replicas[0], "notes", token=alice)
    stored = [push(replicas, number, str(number), alice)[1] for number in (0, 1)]
    (steps / "900_other.sql").write_text("CREATE TABLE later (id BIGINT PRIMARY KEY);\n")
    with pytest.raises(AssertionError, match="in use by another process"):
        later_program.start(replicas[2], steps)
    said = replicas[2].log.read_text()
    assert "schema 3 → 900: stops all servers: stop the others first (900_other.sql)" in said
    assert "stop every server and command of this registry" in said and "nothing was changed" in said
    assert replicas[0].get("/readyz").status == replicas[1].get("/readyz").status == 200
    replicas[1].stop()
    with replicas[1].opened() as older:
        with postgresql.connect() as db:
            name = replicas.address.rpartition("%3D")[2]
            cut = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock'"
            wait_for("migrated as soon as it is cut off", 30, lambda: _started(replicas, steps, db, cut))
            assert db.execute(f"SELECT count(*) FROM {name}.migration WHERE number = 900").fetchone() == (1,)
        status, _ = push(replicas, 0, "by an older program", alice)
        assert status == 503
        with older.alone("serve", together=True), pytest.raises(DatabaseBusyError), older.database.writing():
            pass
    wait_for("it says so", 15, lambda: replicas[0].get("/readyz").status == 503)
    assert replicas[0].get("/readyz").json()["database"] != "ok" or replicas[0].get("/readyz").json()["schema"] != "ok"
    assert push(replicas, 0, "still", alice)[0] == 503
    status, commit = push(replicas, 2, "by the later one", alice)
    assert status == 200 and [one for one in commits(replicas, 2, alice) if one in (*stored, commit)] == [
        commit, *stored[::-1]
    ]  # fmt: skip
    with pytest.raises(AssertionError, match="another release"):
        replicas.start(1)


def _started(replicas: Replicas, steps: Path, db: object, cut: str) -> bool:
    db.execute(cut)  # type: ignore[attr-defined]
    try:
        later_program.start(replicas[2], steps)
    except AssertionError:
        return False  # the older one took its lock again first
    return True


def test_a_statement_that_was_prepared_before_a_column_came(postgresql: Server) -> None:
    """It is sent anew by itself; within a transaction the caller is asked to try again."""
    database = Database(postgresql.new_schema())
    schema.migrate(database)
    name = parse_address(database.name)["options"].rpartition("=")[2]
    read = "SELECT * FROM tombstone"
    try:
        for column in ("one", "two"):
            for _ in range(12):
                database.connection().execute(read).fetchall()
            with postgresql.connect() as db:
                db.execute(f"ALTER TABLE {name}.tombstone ADD COLUMN {column} TEXT NOT NULL DEFAULT ''")
            if column == "one":
                assert database.connection().execute(read).fetchall() == []
                continue
            with pytest.raises(DatabaseBusyError), database.writing() as writer:
                writer.execute(read)
            with database.writing() as writer:
                assert writer.execute(read).fetchall() == []
    finally:
        database.close()


def test_each_step_declares_whether_it_rolls() -> None:
    """A step does, if its file says so; what it may hold is for its author."""
    both = [schema.known_steps(engine) for engine in (SQLITE, POSTGRESQL)]
    assert all(step.is_declared for steps in both for step in steps)
    declared = [{step.name: step.is_rolling for step in steps} for steps in both]
    assert declared[0] == declared[1], "the same for both engines"
    assert (
        schema.Step(900, "900_more.sql", ROLLING).is_rolling and schema.Step(900, "900_more.sql", ROLLING).is_declared
    )
    for script in (
        "CREATE TABLE later (x TEXT);\n",
        "-- stops:\nSELECT 1;\n",
        "-- rolling: \n",
        "\n-- rolling: late\n",
    ):
        assert not schema.Step(900, "900_more.sql", script).is_declared, script


def test_what_steps_mean_for_servers(tmp_path: Path) -> None:
    """The plan names what the whole of them is: one step that stops is enough."""
    database = Database(tmp_path / "x.db")
    try:
        schema.migrate(database)
        rolls, stops = schema.Step(4, "004_a.sql", ROLLING), schema.Step(5, "005_b.sql", "-- stops: made up.\n")
        plans = [schema.plan(steps, database) for steps in ([rolls], [rolls, stops])]
    finally:
        database.close()
    assert plans[0].startswith("schema 3 → 4: rolls")
    assert plans[1] == "schema 3 → 5: stops all servers: stop the others first (005_b.sql)"
