"""Bodies are measured and timed while they arrive, and read off the event loop."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.requests import Request
from starlette.types import Message

from embhub.formats import strict_json
from embhub_registry import bodies
from embhub_registry.denials import Denied
from tests.registry.conftest import House

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
    with pytest.raises(Denied, match=f"longer than {seconds:.0f} s") as caught:
        asyncio.run(bodies.read(make_request(stall), limit=limit))
    assert caught.value.status == 408


@pytest.mark.parametrize("read", [bodies.read_json, bodies.read_fields])
def test_json_is_read_off_the_event_loop(
    monkeypatch: pytest.MonkeyPatch, read: Callable[[Request], Awaitable[Any]]
) -> None:
    threads = []
    real = strict_json.read_object

    def noted(data: bytes, *, limit: int) -> dict[str, Any]:
        threads.append(threading.current_thread())
        return real(data, limit=limit)

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
        line.sendall(f"{address} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n".encode())
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


@pytest.mark.parametrize(("count", "status"), [(1999, 200), (2001, 400)])
def test_paths_are_counted(house: House, count: int, status: int) -> None:
    house.registry.request("POST", "/api/repos/create", token=house.alice, json_body={"name": "pathless"})
    paths = {"paths": ["x"] * count}
    answer = house.registry.request("POST", "/api/models/radboud/pathless/paths-info/main", json_body=paths)
    assert answer.status == status
