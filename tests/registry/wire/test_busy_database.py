"""A database that is busy or cannot be read before a request has found its route: 503, and when to come again."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from embhub.errors import RegistryError
from embhub_registry import app
from embhub_registry.database import DatabaseBusyError, StorageFullError
from embhub_registry.operation.opening import open_folder
from tests.registry.database.test_postgresql import make
from tests.support.postgres import Server
from tests.support.servers import Answer, RunningRegistry, init_registry
from tests.support.threads import THREAD, serving

LOCK = "LOCK TABLE token IN ACCESS EXCLUSIVE MODE"
Raw = psycopg.Connection[tuple[object, ...]]


@pytest.fixture
def running(postgresql: Server, tmp_path: Path) -> Iterator[RunningRegistry]:
    """A registry on PostgreSQL, as a process of its own."""
    registry = make(postgresql, tmp_path / "r")
    registry.start()
    yield registry
    registry.stop()


@contextmanager
def beside(running: RunningRegistry, postgresql: Server) -> Iterator[Raw]:
    """A connection of an operator, to the schema of this registry."""
    with running.opened() as opened:
        (schema,) = opened.database.connection().execute("SELECT current_schema()").fetchone()
    with postgresql.connect() as db:
        db.execute(f'SET search_path TO "{schema}"')
        yield db


@pytest.mark.parametrize(
    ("error", "rule"),
    [
        (DatabaseBusyError("the registry is busy with other writers", "try again in a moment"), "busy"),
        (StorageFullError("the registry could not store this", "ask the operator to free space"), "database"),
    ],
)
def test_what_fails_before_a_route_is_found_may_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: RegistryError, rule: str
) -> None:
    """Whether reading is open to everybody is asked of the database at every request, by middleware."""
    running = init_registry(tmp_path)
    registry = open_folder(running.folder)
    engine = type(registry.database)
    opened = engine.connection
    fails = threading.Event()

    def connection(database: object) -> object:
        if fails.is_set() and threading.current_thread().name == THREAD:
            raise error
        return opened(database)  # type: ignore[arg-type]  # it is one

    monkeypatch.setattr(engine, "connection", connection)
    with serving(app.build(registry)) as server:
        running.url = f"http://127.0.0.1:{server.config.port}"
        assert running.get("/api/models").status == 200
        fails.set()
        for accept in ("application/json", "text/html"):
            answer = running.get("/", headers={"Accept": accept})
            assert answer.status == 503 and int(answer.header("Retry-After") or 0) > 0, accept
        assert running.get("/api/models").json()["rule"] == rule
        fails.clear()
        assert running.get("/api/models").status == 200
    registry.close()


def test_a_statement_that_the_server_ends_is_no_fault_of_ours(running: RunningRegistry, postgresql: Server) -> None:
    """The token is looked up before any route is; the lock's wait ends as by `statement_timeout`, or an operator."""
    token = running.add_user("lea", namespace="lumc")
    assert running.get("/api/models", token=token).status == 200
    with beside(running, postgresql) as db, ThreadPoolExecutor(1) as caller, db.transaction():
        db.execute(LOCK)
        asked = caller.submit(running.get, "/api/models", token=token)
        cancel = "SELECT count(pg_cancel_backend(pid)) FROM pg_locks WHERE NOT granted AND relation = 'token'::regclass"
        deadline = time.monotonic() + 1.5  # then the registry itself gives up
        while db.execute(cancel).fetchone() == (0,) and time.monotonic() < deadline:
            time.sleep(0.01)
        answer = asked.result()
    assert answer.status == 503 and answer.header("Retry-After") == "2", answer.body
    assert answer.json()["rule"] == "busy" and '"fault"' not in running.log.read_text()
    assert running.get("/api/models", token=token).status == 200


def test_a_locked_table_stops_no_event_loop(running: RunningRegistry, postgresql: Server) -> None:
    """Ten callers with tokens come one after the other on the event loop; one of them waits, the others do not."""
    token = running.add_user("lea", namespace="lumc")
    assert running.get("/api/models", token=token).status == 200

    def timed(path: str, token: str | None = None) -> tuple[Answer, float]:
        began = time.monotonic()
        return running.get(path, token=token), time.monotonic() - began

    with beside(running, postgresql) as db, ThreadPoolExecutor(10) as callers:
        with db.transaction():
            db.execute(LOCK)
            asked = [callers.submit(timed, "/api/models", token) for _ in range(10)]
            time.sleep(0.3)  # the first of them waits for the lock
            health, seconds = timed("/healthz")
            assert health.status == 200 and seconds < 5, seconds
            for future in asked:
                answer, seconds = future.result()
                assert answer.status == 503 and int(answer.header("Retry-After") or 0) > 0 and seconds < 5, seconds
        deadline = time.monotonic() + 10
        while running.get("/api/models", token=token).status != 200:
            assert time.monotonic() < deadline, "it reads again once the lock is gone"
            time.sleep(0.1)
    assert "took longer than 2 seconds" in running.log.read_text(), "its operator is told why"
