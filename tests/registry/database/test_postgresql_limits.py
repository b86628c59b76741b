"""A database server that hangs with its connections open: the event loop goes on, callers get 503."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from embhub_registry.database import Database, DatabaseUnavailableError, schema
from embhub_registry.database.engines.postgresql import PostgresqlDatabase
from embhub_registry.database.people import accounts
from embhub_registry.storage import folder
from tests.support import postgres, tools
from tests.support.postgres import Server
from tests.support.servers import RunningRegistry, free_port


@pytest.fixture(scope="module")
def own_server() -> Iterator[Server]:
    """A server of these tests' own, because they suspend it."""
    tools.require("postgresql", found=postgres.programs() is not None)
    with postgres.running_server() as server:
        yield server


@contextmanager
def suspended(server: Server) -> Iterator[None]:
    """Every process of the server stopped where it is."""
    assert server.process is not None
    parent = server.process.pid
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    everyone = [parent, *map(int, children)]
    for pid in everyone:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in everyone:
            os.kill(pid, signal.SIGCONT)


def seconds_of(registry: RunningRegistry, path: str, status: int) -> float:
    began = time.monotonic()
    answer = registry.get(path)
    assert answer.status == status, (path, answer.body)
    return time.monotonic() - began


@pytest.mark.slow
def test_a_server_that_hangs_blocks_no_event_loop(own_server: Server, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    folder.create(
        tmp_path / "r", name="T", url=url, audit="optional", database=own_server.new_schema()
    ).close()  # fmt: skip
    running = RunningRegistry(tmp_path / "r", url, "", "")
    running.start()
    try:
        assert seconds_of(running, "/api/models", 200) < 5
        with suspended(own_server):
            first = seconds_of(running, "/api/models", 503)
            assert first < 5, "one statement's limit, and one short wait for a new connection"
            longest = max(seconds_of(running, "/healthz", 200) for _ in range(10))
            assert longest < 1.5, longest
            refused = running.get("/api/models")
            assert refused.status == 503 and refused.header("Retry-After") == "5"
            began = time.monotonic()
            for _ in range(20):
                assert running.get("/api/models").status == 503
            assert time.monotonic() - began < 8, "most of them are refused at once"
        deadline = time.monotonic() + 20
        while running.get("/api/models").status != 200:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert running.get("/healthz").status == 200
    finally:
        running.stop()


def test_statements_are_cut_off_and_the_next_one_works(own_server: Server) -> None:
    database = Database(own_server.new_schema())
    assert isinstance(database, PostgresqlDatabase)
    schema.migrate(database)
    try:
        database.limit_waits()
        database.limit = database.connection().limit = 1.0
        began = time.monotonic()
        with pytest.raises(DatabaseUnavailableError):
            database.connection().execute("SELECT pg_sleep(20)")
        assert time.monotonic() - began < 8
        found: list[object] = []

        def read() -> None:
            try:
                database.connection().execute("SELECT pg_sleep(20)")
            except DatabaseUnavailableError:
                found.append(accounts.read_setting(database.connection(), "x"))

        thread = threading.Thread(target=read)
        thread.start()
        thread.join(20)
        assert found == [None]
        with pytest.raises(DatabaseUnavailableError), database.writing() as db:
            accounts.write_setting(db, "a", "1")
            db.execute("SELECT pg_sleep(20)")
        for _ in range(50):
            try:
                assert accounts.read_setting(database.connection(), "a") is None
                break
            except DatabaseUnavailableError:
                time.sleep(0.1)
        else:
            raise AssertionError("it did not connect again")
    finally:
        database.close()


def test_a_writer_that_is_suspended_lets_others_write_after_a_while(own_server: Server) -> None:
    """The server ends a transaction in which nothing happens; what it wrote is gone."""
    address = own_server.new_schema()
    one, two = Database(address), Database(address)
    assert isinstance(one, PostgresqlDatabase)
    schema.migrate(one)
    try:
        one.limit_waits()
        one.connection().execute("SET idle_in_transaction_session_timeout = '1s'")
        with pytest.raises((DatabaseUnavailableError, psycopg.Error)), one.writing() as db:
            accounts.write_setting(db, "a", "1")
            with two.writing() as other:
                accounts.write_setting(other, "b", "2")
        assert accounts.read_setting(two.connection(), "a") is None
        assert accounts.read_setting(two.connection(), "b") == "2"
    finally:
        one.close()
        two.close()
