"""Answers from memory: the same as the application's; none after a change, none that a token decides."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from embhub.release.files import EMBEDDING
from embhub_registry import app, recent
from embhub_registry.database import accounts, repositories
from embhub_registry.database.clock import stamp
from embhub_registry.operation.opening import open_folder
from embhub_registry.people import rate_limits as pace
from embhub_registry.recent import Recent, Repeatable
from embhub_registry.repositories import access, deletion
from embhub_registry.storage.folder import Registry
from tests.support import pushes, releases
from tests.support.servers import RunningRegistry, init_registry
from tests.support.threads import serving

NAME = "radboud/prostate-cspca"


@dataclass
class Served:
    """A registry served by a thread of this process; `beside` is a second handle, as an operator's command has."""

    registry: RunningRegistry
    application: app.Starlette
    beside: Registry
    alice: str
    admin: accounts.Account
    memory: list[bool] = field(default_factory=list)
    line: http.client.HTTPConnection | None = None

    def ask(self, method: str, path: str, **headers: str) -> tuple[int, list[tuple[str, str]], bytes]:
        """One request on the line that stays open: status, headers but the date, body."""
        if self.line is None:
            self.line = http.client.HTTPConnection("127.0.0.1", int(self.registry.url.rsplit(":", 1)[1]), timeout=20)
        self.line.request(method, path, headers={"Accept-Encoding": "identity", **headers})
        got = self.line.getresponse()
        body = got.read()
        return got.status, [pair for pair in got.getheaders() if pair[0] != "date"], body

    def from_memory(self, method: str, path: str, **headers: str) -> bool:
        """Whether this request is answered from memory."""
        self.memory.clear()
        self.ask(method, path, **headers)
        return self.memory == [True]


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    running = init_registry(tmp_path)
    running.add_key(releases.SITE, namespace="radboud")
    alice = running.add_user("alice", namespace="radboud")
    registry = open_folder(running.folder)
    application = app.build(registry)
    beside = open_folder(running.folder)
    admin = accounts.Account(0, "admin", "registry", "admin", "", b"", None, None, scope="admin")
    made = Served(running, application, beside, alice, admin)
    repeat = application.state.recent.repeat

    def noted(*arguments: object, **options: object) -> object:
        answer = repeat(*arguments, **options)
        made.memory.append(answer is not None)
        return answer

    with serving(application) as server:
        running.url = f"http://127.0.0.1:{server.config.port}"
        assert pushes.create(running, "prostate-cspca", token=alice).status == 200
        assert pushes.commit(running, NAME, releases.make_release().files, token=alice).status == 200
        monkeypatch.setattr(application.state.recent, "repeat", noted)
        yield made
        if made.line:
            made.line.close()
    beside.close()
    registry.close()


@pytest.fixture
def path(served: Served) -> str:
    sha = repositories.find_ref(served.beside.database.connection(), 1, "main")
    return f"/{NAME}/resolve/{sha}/{EMBEDDING}"


@pytest.mark.parametrize(("method", "revision"), [("HEAD", ""), ("GET", ""), ("HEAD", "main"), ("GET", "main")])
def test_what_memory_answers_is_what_the_application_answered(
    served: Served, path: str, method: str, revision: str
) -> None:
    if revision:
        path = f"/{NAME}/resolve/{revision}/{EMBEDDING}"
    answers = [served.ask(method, path) for _ in range(4)]
    other = served.ask(method, path, **{"User-Agent": "another"})  # not the same bytes: parsed
    assert served.memory == [True] * 4
    assert all(answer == answers[0] for answer in [*answers, other])
    status, headers, body = answers[0]
    assert status == (307 if (method, revision) == ("HEAD", "main") else 200)
    assert len({name for name, _ in headers}) == len(headers) and "x-frame-options" in dict(headers)
    assert (body == releases.make_release().embedding.data) == (method == "GET")


def hide(served: Served) -> None:
    access.change(served.beside, served.admin, *NAME.split("/"), access.Settings(private=True))


def gate(served: Served) -> None:
    access.change(served.beside, served.admin, *NAME.split("/"), access.Settings(gated="manual"))


def disable(served: Served) -> None:
    access.change(served.beside, served.admin, *NAME.split("/"), access.Settings(disabled=True))


def delete(served: Served) -> None:
    deletion.delete(served.beside, served.admin, *NAME.split("/"), reason="a test")


def hide_by_http(served: Served) -> None:
    answer = served.registry.request(
        "PUT", f"/api/models/{NAME}/settings", token=served.registry.admin, json_body={"private": True}
    )
    assert answer.status == 200


CHANGES = [(hide, 401), (hide_by_http, 401), (gate, 401), (disable, 403), (delete, 410)]


@pytest.mark.parametrize("method", ["HEAD", "GET"])
@pytest.mark.parametrize(("change", "status"), CHANGES)
def test_what_was_taken_away_is_not_served_from_memory(
    served: Served, path: str, method: str, change: Callable[[Served], None], status: int
) -> None:
    for _ in range(3):
        assert served.ask(method, path)[0] == 200
    assert served.from_memory(method, path)
    change(served)
    got, _, body = served.ask(method, path)
    assert got in (status, 404 if change in (hide, hide_by_http) else status)
    assert releases.make_release().embedding.data not in body
    assert not served.from_memory(method, path), "nor is a refusal kept"


def test_a_branch_that_moved(served: Served) -> None:
    moving = f"/{NAME}/resolve/main/{EMBEDDING}"
    before = [served.ask("HEAD", moving) for _ in range(3)][-1]
    release = releases.make_release(artifact=releases.make_embedding(seed=5), version="1.1.0")
    assert pushes.commit(served.registry, NAME, release.files, token=served.alice).status == 200
    assert dict(served.ask("HEAD", moving)[1])["location"] != dict(before[1])["location"]
    assert served.ask("GET", moving)[2] == release.embedding.data


DECIDED = {
    "authorization": "Bearer ",
    "range": "bytes=0-9",
    "if-none-match": '"x"',
    "if-match": "*",
}


@pytest.mark.parametrize("name", DECIDED)
def test_what_a_header_decides_is_the_applications(served: Served, path: str, name: str) -> None:
    value = DECIDED[name] + (served.alice if name == "authorization" else "")
    for _ in range(3):
        served.ask("GET", path)
    assert served.from_memory("GET", path)
    for _ in range(3):
        assert not served.from_memory("GET", path, **{name: value})
    if name == "range":
        assert served.ask("GET", path, Range="bytes=0-9")[0] == 206


def test_what_a_member_reads_is_kept_for_nobody(served: Served, path: str) -> None:
    hide(served)
    for _ in range(3):
        assert served.ask("GET", path, Authorization=f"Bearer {served.alice}")[0] == 200
    assert served.ask("GET", path)[0] in (401, 404)
    assert not served.memory


def test_pace_metrics_downloads_and_log_go_on(
    served: Served, path: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with served.beside.database.writing() as db:
        accounts.write_setting(db, "rate.address_burst", "10")
        accounts.write_setting(db, "rate.address_per_second", "0.001")
    served.application.state.pace._read = float("-inf")
    monkeypatch.setattr(pace, "is_local", lambda scope: False)
    statuses = [served.ask("GET", path)[0] for _ in range(12)]
    assert statuses == [200] * 10 + [429] * 2 and served.memory.count(True) >= 8
    requests = served.application.state.metrics._requests
    route = "/{namespace}/{name}/resolve/{revision}/{path:path}"
    assert requests.answered["GET", route, "200"] == 10 and sum(requests._times["GET", route]) == 10
    assert served.application.state.tally._downloads.total() == 10
    lines = [line for line in capsys.readouterr().err.splitlines() if '"status": 200' in line and path in line]
    assert len(lines) == 10 and len({line.partition('"level"')[2].partition('"ms"')[0] for line in lines}) == 1


def test_behind_a_proxy_each_caller_has_a_pace_of_its_own(
    served: Served, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with served.beside.database.writing() as db:
        accounts.write_setting(db, "rate.address_burst", "5")
        accounts.write_setting(db, "rate.address_per_second", "0.001")
    served.application.state.pace._read = float("-inf")
    for caller in ("192.0.2.1", "192.0.2.2, 192.0.2.3"):  # of two, the one that the believed proxy saw
        headers = {"X-Forwarded-For": caller, "X-Forwarded-Proto": "https"}
        assert [served.ask("GET", path, **headers)[0] for _ in range(7)] == [200] * 5 + [429] * 2
    assert served.memory.count(True) >= 8
    logged = capsys.readouterr().err
    assert logged.count('"client": "192.0.2.1"') == 7 and logged.count('"client": "192.0.2.3"') == 7


def test_requests_in_pieces_and_in_heaps(served: Served, path: str) -> None:
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\nAccept-Encoding: identity\r\n\r\n".encode()
    body = served.ask("GET", path)[2]
    assert served.line is not None and served.line.sock is not None
    line = served.line.sock
    for sent in (
        [request],
        [request],
        [request * 3],
        [request[:20], request[20:]],
        [request + request[:9], request[9:]],
    ):
        for piece in sent:
            line.sendall(piece)
            time.sleep(0.05)
        wanted, data = b"".join(sent).count(b"\r\n\r\n"), b""
        while data.count(body) < wanted:
            data += line.recv(1 << 20)
        assert data.count(b"HTTP/1.1 200 OK") == wanted and data.endswith(body)


def test_an_idle_line_is_closed_and_a_busy_one_is_not(served: Served, path: str) -> None:
    started = time.monotonic()
    while time.monotonic() - started < 2.5:
        assert served.ask("HEAD", path)[0] == 200
        time.sleep(0.3)
    assert served.line is not None and served.line.sock is not None
    served.line.sock.settimeout(5)
    assert served.line.sock.recv(1) == b"", "closed a second after the last request"


def test_an_answer_from_before_a_change_is_not_kept(served: Served) -> None:
    state = served.application.state
    memory = Recent(served.beside, metrics=state.metrics, pace=state.pace, tally=state.tally)
    db = served.beside.database.connection()
    scope = {"method": "GET", "raw_path": b"/a", "path": "/a"}
    before = memory.moment(db)
    with served.beside.database.writing() as changed:  # by the same connection, which SQLite's number does not show
        accounts.write_setting(changed, "note", stamp())
    memory.moment(db)
    memory.keep(scope, 200, [], Repeatable(before))
    assert memory.find("GET", b"/a", []) is None
    memory.keep(scope, 200, [], Repeatable(memory.moment(db)))
    assert memory.find("GET", b"/a", []) is not None
    hide(served)
    memory.moment(db)
    assert memory.find("GET", b"/a", []) is None


def test_memory_is_bounded(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "MOST", 3)
    kept = served.application.state.recent
    for number in range(6):
        served.ask("HEAD", f"/{NAME}/resolve/main/{EMBEDDING}", **{"User-Agent": f"client {number}"})
        served.ask("HEAD", f"/{NAME}/resolve/main/{'./' * number}{EMBEDDING}")
    assert len(kept._kept) <= 3 and len(kept._same) <= 3
