"""Tries of login codes are counted in the database: any number of servers allow no more than one."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from starlette.types import Scope

from embhub_registry.database import Database, DatabaseBusyError, schema
from embhub_registry.database.people import login_limits
from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.operation.background import expiry
from embhub_registry.people.login import login_pacing
from embhub_registry.people.login.login_pacing import FOR_ADDRESS, LoginPacing
from embhub_registry.people.rate_limits import Buckets, Rate
from embhub_registry.storage import folder
from tests.support.quick import examples

OpenAgain = Callable[[], Database]
THREADS = 12


@pytest.fixture(params=["sqlite", "postgresql"])
def servers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenAgain]:
    """Opens the same database again, as another server does."""
    place: Any = tmp_path / "x.db"
    if request.param == "postgresql":
        place = request.getfixturevalue("postgresql").new_schema()
    opened: list[Database] = []

    def open_again() -> Database:
        opened.append(Database(place, patience=30.0))
        return opened[-1]

    schema.migrate(open_again())
    yield open_again
    for database in opened:
        database.close()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(tmp_path / "x.db")
    schema.migrate(made)
    yield made
    made.close()


def call(host: str = "192.0.2.7") -> Scope:
    return {"type": "http", "client": (host, 1), "headers": []}


def is_let(pacing: LoginPacing, account: str | None, scope: Scope) -> bool:
    try:
        pacing.take(scope, account)
    except RequestDeniedError as refused:
        assert refused.status == 429 and 1 <= int(refused.headers["Retry-After"]) <= 300
        return False
    return True


def test_five_tries_at_all_servers_together(servers: OpenAgain) -> None:
    pacings = [LoginPacing(servers()) for _ in range(3)]
    let = [is_let(pacings[number % 3], "carl", call(f"192.0.2.{number}")) for number in range(9)]
    assert let == [True] * 5 + [False] * 4
    assert not is_let(LoginPacing(servers()), "carl", call("192.0.2.99")), "a restart fills nothing"
    assert is_let(pacings[1], "dora", call()), "another account has its own"


def test_an_address_has_thirty(servers: OpenAgain) -> None:
    pacings = [LoginPacing(servers()) for _ in range(2)]
    burst = int(FOR_ADDRESS.burst)
    let = [is_let(pacings[number % 2], f"user-{number}", call("2001:db8::1")) for number in range(burst + 4)]
    assert sum(let) in (burst, burst + 1), "one came back if ten seconds went by"
    assert not is_let(pacings[0], None, call("2001:db8::ffff")), "of IPv6 the first 64 bits"
    assert is_let(pacings[0], None, call("2001:db8:0:1::1"))


def test_racing_wins_no_try(servers: OpenAgain) -> None:
    """Every thread has the bucket seen as full before any of them takes out."""
    let, barrier = [], threading.Barrier(THREADS)

    def guess(pacing: LoginPacing, number: int) -> None:
        barrier.wait()
        let.append(is_let(pacing, "carl", call(f"192.0.2.{number}")))

    pacings = [LoginPacing(servers()) for _ in range(3)]
    threads = [threading.Thread(target=guess, args=(pacings[n % 3], n)) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(let) == [False] * (THREADS - 5) + [True] * 5


def test_a_right_code_does_not_count(servers: OpenAgain) -> None:
    one, two = LoginPacing(servers()), LoginPacing(servers())
    for _ in range(8):
        one.take(call(), "carl")
        two.give_back(call(), "carl")
    assert [is_let(one, "carl", call()) for _ in range(6)] == [True] * 5 + [False]


def test_what_cannot_be_counted_is_no_try(servers: OpenAgain) -> None:
    """A code that is compared uncounted would be a free guess; one that was right counts, and the login holds."""
    database = servers()
    pacing = LoginPacing(database)
    pacing.take(call(), "carl")
    with busy(database):
        with pytest.raises(DatabaseBusyError):
            pacing.take(call(), "carl")
        pacing.give_back(call(), "carl")


@contextmanager
def busy(database: Database) -> Iterator[None]:
    """Another writer that holds the database for longer than anybody waits."""
    begun, ended = threading.Event(), threading.Event()

    def hold() -> None:
        with database.writing():
            begun.set()
            ended.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    begun.wait(30)
    wait = database.writing
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(database, "writing", lambda: wait(patience=0.05))
            yield
    finally:
        ended.set()
        thread.join()


def test_the_databases_clock_counts(servers: OpenAgain, monkeypatch: pytest.MonkeyPatch) -> None:
    database = servers()
    pacing = LoginPacing(database)
    assert abs(login_limits.engine_milliseconds(database.connection()) / 1000 - time.time()) < 5
    assert [is_let(pacing, "carl", call()) for _ in range(6)] == [True] * 5 + [False]
    monkeypatch.setattr(time, "time", lambda: 4e9)  # a server far ahead
    assert not is_let(pacing, "carl", call())


@given(steps=some.lists(some.tuples(some.integers(0, 72), some.booleans()), min_size=1, max_size=60))
@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_as_many_as_burst_and_rate_allow(database: Database, steps: list[tuple[int, bool]]) -> None:
    """The same as a token bucket in memory, by eighths of a second, which floating-point numbers hold exactly."""
    rate = Rate(per_second=0.5, burst=4)
    interval, burst = 2000, 4
    now = 1000.0
    buckets = Buckets(lambda: now)
    digest = uuid.uuid4().bytes
    with pytest.MonkeyPatch.context() as patch, database.writing() as db:
        patch.setattr(login_limits, "engine_milliseconds", lambda _: round(now * 1000))
        for pause, is_wrong in steps:
            now += pause / 8
            left = login_limits.wait(db, digest, interval=interval, burst=burst)
            assert left == login_limits.take(db, digest, interval=interval, burst=burst)
            assert left / 1000 == buckets.take("a", rate)
            if not left and not is_wrong:
                login_limits.give_back(db, digest, interval=interval)
                buckets.spend("a", rate, -1)


def test_a_clock_that_goes_back_fills_nothing_and_keeps_nobody_out(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 10_000_000
    monkeypatch.setattr(login_limits, "engine_milliseconds", lambda _: now)
    with database.writing() as db:
        for _ in range(3):
            assert login_limits.take(db, b"a", interval=1000, burst=3) == 0
        now -= 3_600_000
        assert login_limits.wait(db, b"a", interval=1000, burst=3) == 0, "what no clock gives is put right by a writer"
        assert login_limits.take(db, b"a", interval=1000, burst=3) == 1000
        assert login_limits.wait(db, b"a", interval=1000, burst=3) == 1000
        now += 1000
        assert login_limits.take(db, b"a", interval=1000, burst=3) == 0


def test_full_buckets_leave_no_row(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 10_000_000
    monkeypatch.setattr(login_limits, "engine_milliseconds", lambda _: now)
    with database.writing() as db:
        for number in range(50):
            login_limits.take(db, b"%d" % number, interval=1000, burst=3)
        now += 1001
        login_limits.take(db, b"other", interval=1000, burst=3)
        assert db.execute("SELECT count(*) FROM login_limit").fetchone()[0] == 1


def test_addresses_are_forgotten_where_nobody_tries_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The digest of an address is as good as the address: there are few enough to try all."""
    made = folder.create(tmp_path / "registry", name="Test", url="http://127.0.0.1:1", audit="optional")
    now = login_limits.engine_milliseconds(made.database.connection())
    monkeypatch.setattr(login_limits, "engine_milliseconds", lambda _: now)
    try:
        for account in ("carl", None):
            LoginPacing(made.database).take(call(), account)
        expiry.forget_tries(made)
        assert made.database.connection().execute("SELECT count(*) FROM login_limit").fetchone()[0] == 2
        now += 300_001
        expiry.forget_tries(made)
        assert made.database.connection().execute("SELECT count(*) FROM login_limit").fetchone()[0] == 0
    finally:
        made.close()


def test_starts_are_each_processs_own(servers: OpenAgain) -> None:
    """They only save work, and begin nothing that could be guessed."""
    for _ in range(2):
        pacing = LoginPacing(servers())
        for _ in range(int(login_pacing.FOR_DEVICES.burst)):
            pacing.start_device(call())
        with pytest.raises(RequestDeniedError):
            pacing.start_device(call())
