"""What was taken away is refused at the next request; tokens, rate limits and counts hold at every one."""

from __future__ import annotations

import http.client
import io
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from starlette.applications import Starlette

from embhub.release.files import EMBEDDING
from embhub_registry import app
from embhub_registry.database.people import accounts
from embhub_registry.database.releases import repositories
from embhub_registry.operation.background import background_tasks
from embhub_registry.operation.opening import open_folder
from embhub_registry.people import rate_limits as pace
from embhub_registry.repositories import access, deletion
from embhub_registry.storage.folder import Registry
from tests.support import pushes, releases
from tests.support.quick import quick
from tests.support.servers import RunningRegistry, init_registry
from tests.support.threads import serving

OWNER, REPOSITORY = "radboud", "prostate-cspca"
NAME = f"{OWNER}/{REPOSITORY}"
INFO = f"/api/models/{NAME}"
PAGE = f"/{NAME}"
FILE = f"/{NAME}/resolve/{{sha}}/{EMBEDDING}"
MAIN_FILE = f"/{NAME}/resolve/main/{EMBEDDING}"


@dataclass
class Served:
    """A registry served by a thread of this process; `beside` is a second handle, as an operator's command has."""

    registry: RunningRegistry
    application: Starlette
    beside: Registry
    alice: str
    lea: str
    admin: accounts.Account
    line: http.client.HTTPConnection | None = None

    def address(self, path: str) -> str:
        """A path with the newest commit in it."""
        return path.format(sha=repositories.find_ref(self.beside.database.connection(), 1, "main"))

    def ask(self, method: str, path: str, **headers: str) -> tuple[int, list[tuple[str, str]], bytes]:
        """One request on the line that stays open: status, headers but date and id, body."""
        if self.line is None:
            self.line = http.client.HTTPConnection("127.0.0.1", int(self.registry.url.rsplit(":", 1)[1]), timeout=20)
        self.line.request(method, path, headers={"Accept-Encoding": "identity", **headers})
        got = self.line.getresponse()
        body = got.read()
        return got.status, [pair for pair in got.getheaders() if pair[0] not in ("date", "x-request-id")], body

    def close(self) -> None:
        """End the line; the next request opens another."""
        if self.line is not None:
            self.line.close()


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setattr(background_tasks, "SECONDS", 3600.0)  # the counters that are read below stay in memory
    running = init_registry(tmp_path)
    running.add_key(releases.SITE, namespace="radboud")
    alice, lea = running.add_user("alice", namespace="radboud"), running.add_user("lea", namespace="lumc")
    registry = open_folder(running.folder)
    application = app.build(registry)
    beside = open_folder(running.folder)
    admin = accounts.Account(0, "admin", "registry", "admin", "", b"", None, None, scope="admin")
    made = Served(running, application, beside, alice, lea, admin)
    with serving(application) as server:
        running.url = f"http://127.0.0.1:{server.config.port}"
        assert pushes.create(running, "prostate-cspca", token=alice).status == 200
        assert pushes.commit(running, NAME, releases.make_release().files, token=alice).status == 200
        yield made
        made.close()
    beside.close()
    registry.close()


@pytest.fixture
def path(served: Served) -> str:
    return served.address(FILE)


def test_a_token_is_looked_up_at_every_request(served: Served, path: str) -> None:
    for token in ("hf_emb_" + "x" * 40, served.lea):
        headers = {"Authorization": f"Bearer {token}"}
        expected = 200 if token == served.lea else 401
        assert [served.ask("GET", path, **headers)[0] for _ in range(3)] == [expected] * 3
    wrong = {"Authorization": f"Bearer {served.lea}x"}
    assert served.ask("GET", path, **wrong)[0] == 401 and served.ask("GET", INFO, **wrong)[0] == 401
    served.registry.run("user", "disable", "lea")
    served.close()  # it was idle meanwhile
    assert served.ask("GET", path, Authorization=f"Bearer {served.lea}")[0] == 401


def test_a_token_that_ended_by_the_clock_is_refused(served: Served, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written when a token ends, so the database says nothing of it."""
    token = {"Authorization": f"Bearer {served.registry.add_user('tom', namespace='lumc', days=1)}"}
    assert [served.ask("GET", path, **token)[0] for _ in range(2)] == [200, 200]
    monkeypatch.setattr("embhub_registry.people.auth.stamp", lambda: "2999-01-01T00:00:00Z")
    assert served.ask("GET", path, **token)[0] == 401


def send_slowly(served: Served, body: bytes, meanwhile: Callable[[], None]) -> bytes:
    """The status line of a commit of alice's whose body is half sent before `meanwhile` and half after."""
    address = ("127.0.0.1", int(served.registry.url.rsplit(":", 1)[1]))
    head = (
        f"POST {INFO}/commit/main HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {served.alice}\r\n"
        f"Connection: close\r\nContent-Type: application/x-ndjson\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(address, timeout=60) as line:
        line.sendall(head.encode() + body[: len(body) // 2])
        time.sleep(0.5)  # the request is under way: who sends it was looked up
        meanwhile()
        line.sendall(body[len(body) // 2 :])
        return line.makefile("rb").readline()


def revoke_token(served: Served) -> None:
    (token,) = [token for token in served.registry.ask("token", "list")["tokens"] if token["user"] == "alice"]
    served.registry.run("token", "revoke", token["id"])


def shut_out(served: Served) -> None:
    served.registry.run("user", "disable", "alice")


@pytest.mark.parametrize("change", [revoke_token, shut_out])
def test_who_is_shut_out_while_a_body_arrives_changes_nothing(
    served: Served, path: str, change: Callable[[Served], None]
) -> None:
    release = releases.make_release(artifact=releases.make_embedding(seed=6), version="1.2.0")
    body = pushes.commit_body(dict(release.files))
    before = served.address(FILE)
    answer = send_slowly(served, body, lambda: change(served))
    assert answer.startswith(b"HTTP/1.1 401 ") and served.address(FILE) == before


def hide(served: Served) -> None:
    access.change(served.beside, served.admin, OWNER, REPOSITORY, access.Settings(private=True))


def gate(served: Served) -> None:
    access.change(served.beside, served.admin, OWNER, REPOSITORY, access.Settings(gated="manual"))


def disable(served: Served) -> None:
    access.change(served.beside, served.admin, OWNER, REPOSITORY, access.Settings(disabled=True))


def delete(served: Served) -> None:
    deletion.delete(served.beside, served.admin, OWNER, REPOSITORY, reason="a test", scope="release")


def hide_by_http(served: Served) -> None:
    answer = served.registry.request(
        "PUT", f"/api/models/{NAME}/settings", token=served.registry.admin, json_body={"private": True}
    )
    assert answer.status == 200


# hidden, it is unknown to whom may not see it; gated, a token alone does not open it
CHANGES = [
    (hide, (401, 404)), (hide_by_http, (401, 404)), (gate, (401, 403)), (disable, (403,)), (delete, (410,)),
]  # fmt: skip


@pytest.mark.parametrize("signed_in", [False, True])
@pytest.mark.parametrize(
    ("method", "address"), quick([("GET", FILE)], thorough=[("HEAD", FILE), ("GET", INFO), ("GET", PAGE)])
)
@pytest.mark.parametrize(("change", "statuses"), CHANGES)
def test_what_was_taken_away_is_refused_at_the_next_request(
    served: Served, method: str, address: str, change: Callable[[Served], None], statuses: tuple[int, ...],
    signed_in: bool,
) -> None:  # fmt: skip
    headers = {"Authorization": f"Bearer {served.lea}"} if signed_in else {}
    path = served.address(address)
    before = [served.ask(method, path, **headers) for _ in range(3)][-1]
    assert before[0] == 200
    change(served)
    served.close()  # it was idle meanwhile
    status, _, body = served.ask(method, path, **headers)
    if change in (gate, disable) and address in (INFO, PAGE):  # it is seen, its files are not
        assert status == 200 and body != before[2]
    else:
        assert status in statuses and (method == "HEAD" or body != before[2])


def test_a_branch_that_moved(served: Served) -> None:
    before = [served.ask("HEAD", MAIN_FILE) for _ in range(3)][-1]
    info = [served.ask("GET", INFO) for _ in range(3)][-1]
    release = releases.make_release(artifact=releases.make_embedding(seed=5), version="1.1.0")
    assert pushes.commit(served.registry, NAME, release.files, token=served.alice).status == 200
    served.close()  # it was idle meanwhile
    assert dict(served.ask("HEAD", MAIN_FILE)[1])["location"] != dict(before[1])["location"]
    assert served.ask("GET", MAIN_FILE)[2] == release.embedding.data
    assert served.ask("GET", INFO)[2] != info[2]


def test_rate_limits_metrics_downloads_and_log_go_on(
    served: Served, path: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with served.beside.database.writing() as db:
        for kind in ("address", "token"):
            accounts.write_setting(db, f"rate.{kind}_burst", "10")
            accounts.write_setting(db, f"rate.{kind}_per_second", "0.001")
    served.application.state.pace._read = float("-inf")
    monkeypatch.setattr(pace, "is_local", lambda scope: False)
    assert [served.ask("GET", path)[0] for _ in range(12)] == [200] * 10 + [429] * 2
    token = {"Authorization": f"Bearer {served.lea}"}
    assert [served.ask("GET", path, **token)[0] for _ in range(12)] == [200] * 10 + [429] * 2
    requests = served.application.state.metrics._requests
    route = "/{namespace}/{name}/resolve/{revision}/{path:path}"
    deadline = time.monotonic() + 5
    while requests.refused["rate"] < 4 and time.monotonic() < deadline:  # it is counted after its answer
        time.sleep(0.01)
    assert requests.answered["GET", route, "200"] == 20 and requests.refused["rate"] == 4
    assert served.application.state.usage_counters._downloads.total() == 20
    lines = [line for line in capsys.readouterr().err.splitlines() if '"status": 200' in line and path in line]
    assert len(lines) == 20 and sum('"user": "lea"' in line for line in lines) == 10


def test_behind_a_proxy_each_caller_has_a_pace_of_its_own(
    served: Served, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged = io.StringIO()  # what capsys hands out while another thread writes may lack a line
    monkeypatch.setattr(sys, "stderr", logged)
    with served.beside.database.writing() as db:
        accounts.write_setting(db, "rate.address_burst", "5")
        accounts.write_setting(db, "rate.address_per_second", "0.001")
    served.application.state.pace._read = float("-inf")
    for caller in ("192.0.2.1", "192.0.2.2, 192.0.2.3"):  # of two, the one that the believed proxy saw
        headers = {"X-Forwarded-For": caller, "X-Forwarded-Proto": "https"}
        assert [served.ask("GET", path, **headers)[0] for _ in range(7)] == [200] * 5 + [429] * 2
    deadline = time.monotonic() + 5
    while logged.getvalue().count('"client": "192.0.2.') < 14 and time.monotonic() < deadline:
        time.sleep(0.01)  # a line comes after its answer
    lines = logged.getvalue()
    assert lines.count('"client": "192.0.2.1"') == 7 and lines.count('"client": "192.0.2.3"') == 7
