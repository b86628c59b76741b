"""Bodies are measured and timed while they arrive, and read off the event loop."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.types import Message

from embhub.formats import strict_json
from embhub_registry.http_errors import RequestDeniedError, malformed
from embhub_registry.repositories import commits
from embhub_registry.storage import configuration
from embhub_registry.wire.limits import bodies
from embhub_registry.wire.limits.commit_limiter import MOST, MOST_OF_ONE, CommitLimiter
from tests.registry.conftest import House
from tests.support.quick import examples
from tests.support.servers import Answer, running_registry

YAML = "/api/validate-yaml"


def make_request(receive: Callable[[], Awaitable[Message]], **headers: str) -> Request:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": pairs}, receive)


def sending(body: bytes) -> Callable[[], Awaitable[Message]]:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


async def stall() -> Message:
    await asyncio.sleep(60)
    raise AssertionError("nobody waits that long")


@pytest.mark.parametrize(("limit", "seconds"), [(bodies.SMALL, 0.05), (bodies.SMALL + 1, 0.2)])
def test_a_small_body_may_take_less_time(monkeypatch: pytest.MonkeyPatch, limit: int, seconds: float) -> None:
    assert bodies.SECONDS_SMALL == 15 and bodies.SECONDS == 120
    monkeypatch.setattr(bodies, "SECONDS_SMALL", 0.05)
    monkeypatch.setattr(bodies, "SECONDS", 0.2)
    with pytest.raises(RequestDeniedError, match=f"longer than {seconds:.0f} s") as caught:
        asyncio.run(bodies.read(make_request(stall), limit=limit))
    assert caught.value.status == 408


@pytest.mark.parametrize("read", [bodies.read_json, bodies.read_fields])
def test_json_is_read_off_the_event_loop(
    monkeypatch: pytest.MonkeyPatch, read: Callable[[Request], Awaitable[Any]]
) -> None:
    threads = []
    real = strict_json.read_object

    def noted(data: bytes, **bounds: int) -> dict[str, Any]:
        threads.append(threading.current_thread())
        return real(data, **bounds)

    monkeypatch.setattr(strict_json, "read_object", noted)

    async def run() -> Any:
        return await read(make_request(sending(b'{"a": ["b"]}'), content_type="application/json"))

    assert asyncio.run(run()) == {"a": ["b"]}
    assert threads and threads[0] is not threading.main_thread()


@pytest.mark.parametrize(
    "address",
    [
        "POST /api/repos/create",
        "DELETE /api/repos/delete",
        "PUT /api/models/radboud/x/settings",
        "POST /api/models/radboud/x/commit/main",
        "POST /api/models/radboud/x/branch/b",
        "POST /api/models/radboud/x/tag/main",
    ],
)
def test_nobody_is_answered_before_the_body_came(house: House, address: str) -> None:
    host, port = house.registry.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as line:
        line.sendall(f"{address} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\n".encode())
        assert line.recv(100).startswith(b"HTTP/1.1 401 ")


def test_yaml_is_judged_for_anybody_and_less_of_it_for_nobody(house: House) -> None:
    """`ModelCard.validate` of stock clients sends no token."""

    def judge(front: str, token: str | None = None) -> int:
        body = {"content": f"---\n{front}\n---\n# x"}
        return house.registry.request("POST", YAML, token=token, json_body=body).status

    assert (judge("license: mit"), judge("a: [")) == (200, 400)
    long = "a: " + "b" * 50_000
    assert (judge(long), judge(long, house.alice)) == (400, 200)
    broken = house.registry.request("POST", YAML, body=b'{"content": "\\ud800"}')
    assert broken.status == 400


def test_yaml_is_paced_by_what_it_cost(tmp_path: Path) -> None:
    """Few requests that cost much are stopped where many that cost little are not; others are not concerned."""
    costly = {"content": "---\na: [" + "a," * 9000 + "]\n---\n"}
    with running_registry(tmp_path) as served:
        with served.opened() as opened:
            configuration.write(opened, "rate.work_burst", "0.002")  # a fraction of the cost on any processor
            configuration.write(opened, "rate.work_per_second", "0.001")
        served.stop()
        served.start()

        def judge(body: dict[str, str], address: str, token: str | None = None) -> Answer:
            headers = {"X-Forwarded-For": address}
            return served.request("POST", YAML, token=token, headers=headers, json_body=body)

        assert judge(costly, "192.0.2.1").status == 200
        again = judge(costly, "192.0.2.1")
        assert again.status == 429 and int(again.header("Retry-After") or 0) > 10 and "CPU" in again.json()["error"]
        assert judge({"content": "# no YAML"}, "192.0.2.1").status == 429, "until it has flowed back"
        assert served.get("/api/models", headers={"X-Forwarded-For": "192.0.2.1"}).status == 200
        assert judge(costly, "192.0.2.2").status == 200
        token = served.add_user("anna", namespace="radboud")
        assert [judge(costly, "192.0.2.1", token).status for _ in range(2)] == [200, 429], "a token's is its own"


@pytest.mark.parametrize(("count", "status"), [(1999, 200), (2001, 400)])
def test_paths_are_counted(house: House, count: int, status: int) -> None:
    house.registry.request("POST", "/api/repos/create", token=house.alice, json_body={"name": "pathless"})
    paths = {"paths": ["x"] * count}
    answer = house.registry.request("POST", "/api/models/radboud/pathless/paths-info/main", json_body=paths)
    assert answer.status == status


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(st.binary(max_size=12)), st.integers(1, 9))
def test_lines_are_those_of_the_whole_body_however_it_arrives(lines: list[bytes], size: int) -> None:
    whole = b"\n".join(line.replace(b"\r", b"") for line in lines)
    chunks = [whole[start : start + size] for start in range(0, len(whole), size)]
    taken: list[bytes] = []
    asyncio.run(bodies.read_lines(make_request(sending_in(chunks)), taken.append, limit=10_000, longest=100))
    *before, last = whole.split(b"\n")
    assert taken == [*before, *filter(None, [last])], "an empty line is one too, but for what follows the last break"


@pytest.mark.parametrize(
    ("chunks", "status", "words"),
    [
        ([b"a" * 60, b"a" * 60], 413, "100 bytes"),
        ([b"a" * 120 + b"\nb"], 413, "100 bytes"),
        ([b"a\n" * 600], 413, "1,000 bytes"),
        ([b"a\n", b"bad\n", b"c\n", b"d"], 400, "not this"),
    ],
)
def test_a_refused_body_is_taken_to_its_end_and_not_kept(chunks: list[bytes], status: int, words: str) -> None:
    taken: list[bytes] = []
    left = list(chunks)

    def take(line: bytes) -> None:
        if line == b"bad":
            raise malformed("not this")
        taken.append(line)

    with pytest.raises(RequestDeniedError, match=words) as caught:
        asyncio.run(bodies.read_lines(make_request(sending_in(left)), take, limit=1000, longest=100))
    assert caught.value.status == status
    assert not left and b"c" not in taken and b"d" not in taken


def sending_in(chunks: list[bytes]) -> Callable[[], Awaitable[Message]]:
    async def receive() -> Message:
        if not chunks:
            return {"type": "http.request", "body": b"", "more_body": False}
        return {"type": "http.request", "body": chunks.pop(0), "more_body": True}

    return receive


@pytest.mark.parametrize("path", ["/oauth/token", "/embhub/v1/device/code", "/embhub/v1/device/token"])
def test_a_list_of_no_values_is_no_value(house: House, path: str) -> None:
    """As a form says it: a field that is not there."""
    names = ("client", "scope", "grant_type", "device_code", "resource", "subject_token")
    absent = house.registry.request("POST", path, json_body={})
    answer = house.registry.request("POST", path, json_body={name: [] for name in names})
    assert answer.status == absent.status < 500 and answer.json().keys() == absent.json().keys()


def test_multipart_forms_are_not_taken(house: House) -> None:
    house.registry.request("POST", "/api/repos/create", token=house.alice, json_body={"name": "no-forms"})
    form = b'--x\r\nContent-Disposition: form-data; name="paths"\r\n\r\nREADME.md\r\n--x--\r\n'
    answer = house.registry.request(
        "POST", "/api/models/radboud/no-forms/paths-info/main",
        headers={"Content-Type": "multipart/form-data; boundary=x"}, body=form,
    )  # fmt: skip
    assert answer.status == 415 and b"multipart" in answer.body


def test_only_so_many_commits_are_under_way_at_once() -> None:
    async def run() -> None:
        commit_limiter = CommitLimiter()
        async with AsyncExitStack() as held:
            for _ in range(MOST_OF_ONE):
                await held.enter_async_context(commit_limiter.commit("alice"))
            with pytest.raises(RequestDeniedError, match="commits of alice") as caught:
                await held.enter_async_context(commit_limiter.commit("alice"))
            assert caught.value.status == 503 and caught.value.headers["Retry-After"]
            for number in range(MOST - MOST_OF_ONE):
                await held.enter_async_context(commit_limiter.commit(f"user {number}"))
            with pytest.raises(RequestDeniedError, match="too many commits are"):
                await held.enter_async_context(commit_limiter.commit("lea"))
        async with commit_limiter.commit("alice"):
            assert commit_limiter._receiving.total() == 1

    asyncio.run(run())


@pytest.mark.parametrize("line", [b"", b" ", b"\t\r"])
def test_blank_lines_of_a_commit_cost_no_more_than_its_operations_may(
    line: bytes,
) -> None:
    """Each line that is looked at takes a turn of a thread; past the first that is too many, none is."""
    reader, turns = commits.Reader(), 0

    def take(whole: bytes) -> None:
        nonlocal turns
        turns += 1
        reader.take(whole)

    async def run() -> None:
        body = (line + b"\n") * 300_000
        await bodies.read_lines(make_request(sending(body)), take, limit=commits.MAX_BODY, longest=commits.MAX_LINE)

    with pytest.raises(RequestDeniedError, match="more than 100 files"):
        asyncio.run(run())
    assert turns == commits.MAX_OPERATIONS + 2
