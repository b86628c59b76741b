"""Who may not do something is told so before they have sent what it would take: a body holds memory and a place."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from embhub_registry import app
from embhub_registry.wire.limits.commit_limiter import MOST, MOST_OF_ONE
from tests.registry.conftest import House

FREE = {  # whose body anybody, or any account, may send
    "/api/validate-yaml": "stock clients send no token",
    "/api/models/{namespace}/{name}/paths-info/{revision}": "it reads",
    "/{namespace}/{name}/ask-access": "every account may ask",
    "/embhub/v1/evaluations/{digest}": "who only reads may publish what they found: the signature counts",
    "/embhub/v1/base-reports/{digest}": "as before",
    "/api/{rest:path}": "it reads no body",
    "/{namespace}/{name}/info/{path:path}": "it reads no body",
    "/embhub/v1/join": "who is invited has no account yet: the code counts",
    "/embhub/v1/device/code": "a program that asks for a login has no account yet",
    "/embhub/v1/device/token": "as before: its device code counts",
    "/oauth/token": "a workload has no account yet: its provider's signature counts",
    "/log/cosignature": "a witness has no account: its signature counts",
}
DIGEST = "0" * 64
CHANGING = [
    (method, route.path)
    for route in app.ROUTES
    for method in sorted(route.methods or ())
    if method in ("POST", "PUT", "DELETE") and route.path not in FREE
]


@pytest.fixture(scope="module")
def repository(house: House) -> Iterator[str]:
    made = house.registry.request("POST", "/api/repos/create", token=house.alice, json_body={"name": "held"})
    assert made.status == 200, made.body
    yield "radboud/held"


@pytest.fixture(scope="module")
def reader(house: House) -> str:
    return house.registry.add_user("rita", namespace="radboud", role="reader")


def connect(house: House) -> socket.socket:
    host, port = house.registry.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=8)


def begin(line: socket.socket, method: str, path: str, token: str) -> None:
    """A head that announces a body of which one byte comes."""
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
    line.sendall(head.encode() + b"Content-Length: 1000\r\n\r\n{")


def addressed(path: str) -> str:
    for part, value in (
        ("{namespace}", "radboud"), ("{name}", "held"), ("{revision}", "main"), ("{digest}", DIGEST),
        ("{secret}", "none"), ("{proposal}", "0" * 40), ("{what}", "test"),
        ("{link}", "0" * 12),
    ):  # fmt: skip
        path = path.replace(part, value)
    assert "{" not in path, path
    return path


def test_every_route_that_takes_a_body_is_here() -> None:
    assert len(CHANGING) >= 14 and not set(FREE) - {route.path for route in app.ROUTES}


@pytest.mark.parametrize(("method", "path"), CHANGING, ids=lambda value: value)
def test_a_readers_body_is_not_waited_for(house: House, repository: str, reader: str, method: str, path: str) -> None:
    with connect(house) as line:
        begin(line, method, addressed(path), reader)
        absent = path.startswith("/embhub/v1/review")  # others' proposals are
        assert line.recv(100).startswith(b"HTTP/1.1 404 " if absent else b"HTTP/1.1 403 ")


@pytest.mark.parametrize(("method", "path"), [c for c in CHANGING if "{name}" in c[1]], ids=lambda value: value)
def test_a_repository_that_is_not_there_is_said_before_the_body_too(
    house: House, reader: str, method: str, path: str
) -> None:
    with connect(house) as line:
        begin(line, method, addressed(path.replace("{name}", "absent")), reader)
        assert line.recv(100).startswith(b"HTTP/1.1 404 ")


def test_half_sent_commits_of_readers_take_no_publishers_place(house: House, repository: str) -> None:
    """As many as there are places, by as few accounts as could fill them; all stay open."""
    readers = [
        house.registry.add_user(f"reader{number}", namespace="lumc", role="reader")
        for number in range(MOST // MOST_OF_ONE)
    ]
    commit = f"/api/models/{repository}/commit/main"
    with contextlib.ExitStack() as open_lines:
        for token in readers * MOST_OF_ONE:
            line = open_lines.enter_context(connect(house))
            begin(line, "POST", commit, token)
            assert line.recv(100).startswith(b"HTTP/1.1 403 ")
        body = b'{"key":"header","value":{"summary":"a"}}\n'
        assert house.registry.request("POST", commit, token=house.alice, body=body).status == 200
