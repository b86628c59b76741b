"""Nobody asks too fast: token buckets, their exemptions, and how a client is told to wait."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi
from hypothesis import given
from hypothesis import strategies as some
from starlette.types import Scope

from embhub_registry.database.people.accounts import Account
from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.operation import administration
from embhub_registry.people.rate_limits import MOST_BUCKETS, SETTINGS_SECONDS, Buckets, Rate, RateLimiter, is_local
from embhub_registry.storage import configuration, folder
from embhub_registry.storage.folder import Registry
from tests.support.servers import running_registry


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def call(host: str, **headers: str) -> Scope:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "client": (host, 1), "headers": pairs}


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    made = folder.create(tmp_path / "registry", name="Test", url="http://127.0.0.1:1", audit="optional")
    for name in ("token", "address"):
        configuration.write(made, f"rate.{name}_burst", "3")
        configuration.write(made, f"rate.{name}_per_second", "2")
    yield made
    made.close()


def test_a_burst_and_then_a_steady_rate() -> None:
    clock = Clock()
    buckets, rate = Buckets(clock), Rate(per_second=2, burst=3)
    assert [buckets.take("a", rate) for _ in range(4)] == [0, 0, 0, 0.5]
    assert buckets.take("b", rate) == 0, "another's bucket is its own"
    clock.now += 0.5
    assert [buckets.take("a", rate) for _ in range(2)] == [0, 0.5]
    clock.now += 1000
    assert [buckets.take("a", rate) for _ in range(4)] == [0, 0, 0, 0.5], "it never holds more than its burst"
    clock.now -= 500
    assert buckets.take("a", rate) > 0, "a clock that goes back fills nothing"


@given(
    steps=some.lists(some.floats(0, 5), min_size=1, max_size=60),
    per_second=some.floats(0.1, 20),
    burst=some.floats(1, 20),
)
def test_no_more_get_through_than_burst_and_rate_allow(steps: list[float], per_second: float, burst: float) -> None:
    clock = Clock()
    buckets, rate = Buckets(clock), Rate(per_second, burst)
    start, through = clock.now, 0
    for step in steps:
        clock.now += step
        wait = buckets.take("a", rate)
        through += wait == 0
        assert through <= burst + (clock.now - start) * per_second + 1e-6
        if wait:
            clock.now += wait + 1e-6
            assert buckets.take("a", rate) == 0, "who waits as told gets through"
            through += 1


def test_what_was_used_is_owed_until_it_has_flowed_back() -> None:
    clock = Clock()
    buckets, rate = Buckets(clock), Rate(per_second=0.5, burst=2)
    assert buckets.wait("a", rate) == 0
    buckets.spend("a", rate, 1.9)
    assert buckets.wait("a", rate) == 0, "something is left"
    buckets.spend("a", rate, 1.1)
    assert buckets.wait("a", rate) == pytest.approx(2, abs=0.01) and buckets.wait("b", rate) == 0
    clock.now += buckets.wait("a", rate)
    assert buckets.wait("a", rate) == 0
    clock.now += 1000
    buckets.spend("a", rate, 2.5)
    assert buckets.wait("a", rate) == pytest.approx(1, abs=0.01), "it never held more than its burst"


@given(
    steps=some.lists(some.tuples(some.floats(0, 9), some.floats(0, 3)), min_size=1, max_size=60),
    per_second=some.floats(0.1, 2),
    burst=some.floats(0.1, 9),
)
def test_no_more_work_is_done_than_burst_rate_and_one_request_allow(
    steps: list[tuple[float, float]], per_second: float, burst: float
) -> None:
    clock = Clock()
    buckets, rate = Buckets(clock), Rate(per_second, burst)
    start, done = clock.now, 0.0
    for pause, cost in steps:
        clock.now += pause
        if not buckets.wait("a", rate):
            buckets.spend("a", rate, cost)
            done += cost
        assert done <= burst + (clock.now - start) * per_second + 3 + 1e-6


def test_a_flood_of_names_holds_bounded_memory() -> None:
    buckets = Buckets(Clock())
    for number in range(MOST_BUCKETS + 500):
        buckets.take(str(number), Rate(1, 1))
    assert len(buckets._levels) == MOST_BUCKETS


def test_who_is_paced_and_who_is_not(registry: Registry) -> None:
    clock = Clock()
    pace = RateLimiter(registry, clock)
    for _ in range(3):
        pace.check_address(call("192.0.2.7"))
    with pytest.raises(RequestDeniedError) as refused:
        pace.check_address(call("192.0.2.7"))
    assert refused.value.status == 429 and refused.value.headers["Retry-After"] == "1" and "token" in refused.value.hint
    for _ in range(3):
        pace.check_address(call("2001:db8::1"))
    with pytest.raises(RequestDeniedError):
        pace.check_address(call("2001:db8::ffff"))  # of the same site's 64 bits
    pace.check_address(call("2001:db8:0:1::1"))
    for _ in range(20):
        pace.check_address(call("127.0.0.1"))
    for _ in range(3):
        pace.check_address(call("127.0.0.1", x_forwarded_for="whatever"))
    with pytest.raises(RequestDeniedError):
        pace.check_address(call("127.0.0.1", x_forwarded_for="whatever"))
    configuration.write(registry, "rate.exempt", "192.0.2.0/24, 2001:db8::/32")
    clock.now += SETTINGS_SECONDS
    for _ in range(20):
        pace.check_address(call("192.0.2.7"))


def test_tokens_are_paced_by_token_and_a_mirrors_is_not(registry: Registry) -> None:
    pace = RateLimiter(registry, Clock())
    anna = Account(1, "anna", "radboud", "publisher", "one", b"", None, None)
    mirror = Account(2, "mirror", "radboud", "reader", "two", b"", None, None, unlimited=True)
    for host in ("192.0.2.1", "192.0.2.2", "192.0.2.3"):
        pace.check_account(call(host), anna)
    with pytest.raises(RequestDeniedError, match="one token"):
        pace.check_account(call("192.0.2.4"), anna)
    for _ in range(20):
        pace.check_account(call("192.0.2.4"), mirror)


def test_cpu_time_is_counted_for_its_caller(registry: Registry) -> None:
    configuration.write(registry, "rate.work_burst", "2")
    configuration.write(registry, "rate.work_per_second", "0.5")
    clock = Clock()
    pace = RateLimiter(registry, clock)
    anna = Account(1, "anna", "radboud", "publisher", "one", b"", None, None)
    mirror = Account(2, "mirror", "radboud", "reader", "two", b"", None, None, unlimited=True)
    pace.check_work(call("192.0.2.7"), None)
    pace.note_work(call("192.0.2.7"), None, 3.0)
    with pytest.raises(RequestDeniedError) as refused:
        pace.check_work(call("192.0.2.7"), None)
    assert refused.value.status == 429 and refused.value.headers["Retry-After"] == "3"  # 1 s is owed, at half a second
    for free in (call("192.0.2.8"), call("127.0.0.1")):
        pace.check_work(free, None)
    pace.check_work(call("192.0.2.7"), anna)
    pace.note_work(call("192.0.2.9"), anna, 2.5)
    with pytest.raises(RequestDeniedError):
        pace.check_work(call("192.0.2.10"), anna)
    pace.note_work(call("192.0.2.9"), mirror, 100.0)
    pace.check_work(call("192.0.2.9"), mirror)
    clock.now += 3
    pace.check_work(call("192.0.2.7"), None)


@pytest.mark.parametrize(
    ("host", "headers", "local"),
    [
        ("127.0.0.1", {}, True),
        ("::1", {}, True),
        ("127.0.0.1", {"x_forwarded_for": "192.0.2.1"}, False),
        ("127.0.0.1", {"forwarded": "for=192.0.2.1"}, False),
        ("127.0.0.1", {"via": "1.1 proxy"}, False),
        ("192.0.2.1", {}, False),
        ("", {}, False),
    ],
)
def test_who_is_on_this_machine(host: str, headers: dict[str, str], local: bool) -> None:
    assert is_local(call(host, **headers)) is local


@pytest.mark.thorough
def test_over_the_wire(tmp_path: Path) -> None:
    with running_registry(tmp_path) as served:
        with served.opened() as opened:
            for name, value in (("address_burst", "5"), ("address_per_second", "0.1"), ("token_burst", "5")):
                configuration.write(opened, f"rate.{name}", value)
            configuration.write(opened, "rate.token_per_second", "0.1")
            token = administration.add_user(opened, "anna", namespace="radboud", role="reader")["token"]
        served.stop()
        served.start()
        far = {"X-Forwarded-For": "192.0.2.9"}
        statuses = [served.get("/api/models", headers=far).status for _ in range(7)]
        assert statuses == [200] * 5 + [429] * 2
        refused = served.get("/api/models", headers=far)
        assert int(refused.header("Retry-After") or 0) >= 1 and "requests a second" in refused.json()["error"]
        assert served.get("/api/models", headers={"X-Forwarded-For": "192.0.2.10"}).status == 200
        assert served.get("/healthz", headers=far).status == 200 and served.get("/readyz", headers=far).status == 200
        other = {"X-Forwarded-For": "192.0.2.11"}
        statuses = [served.get("/api/whoami-v2", token=token, headers=other).status for _ in range(7)]
        assert statuses == [200] * 5 + [429] * 2
        guesser = {"X-Forwarded-For": "192.0.2.12"}
        statuses = [served.get("/api/whoami-v2", token=f"hf_emb_{n}", headers=guesser).status for n in range(7)]
        assert statuses == [401] * 5 + [429] * 2, "wrong tokens count against their address"

        hidden = {"X-Forwarded-For": "192.0.2.13", "Authorization": "Bearer hf_emb_wrong"}
        statuses = [served.get("/embhub/v1/trust", headers=hidden).status for n in range(7)]
        assert statuses == [200] * 5 + [429] * 2, "where nobody looks at a token, none helps"

        for number, path in enumerate(("/api/nothing", "/", "/static/style.css", "/radboud/nothing", "/api/models")):
            for sent in (hidden, {}):
                here = {**sent, "X-Forwarded-For": f"198.51.100.{4 * number + len(sent)}"}
                limited = [served.get(path, headers=here).status == 429 for n in range(7)]
                assert limited == [False] * 5 + [True] * 2, f"a header without a good token is worth none: {path}"
        second = served.add_user("berta", namespace="radboud", role="reader")
        statuses = [served.get("/api/nothing", token=second, headers=other).status for _ in range(7)]
        assert statuses == [404] * 5 + [429] * 2, "a token is paced wherever it is sent"

        with served.opened() as opened:
            configuration.write(opened, "rate.address_per_second", "1")
        time.sleep(SETTINGS_SECONDS + 0.5)
        while served.get("/api/models", headers=far).status == 200:
            pass
        api = HfApi(endpoint=served.url, token=False, headers=far)
        assert list(api.list_models(limit=1)) == [], "a stock client waits as it is told, and gets its answer"
