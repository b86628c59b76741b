"""Cached answers: the same as the application's; none after a change, none to whom another's token gave it."""

from __future__ import annotations

import http.client
import io
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from starlette.applications import Starlette

from embhub.release.files import EMBEDDING
from embhub_registry import app
from embhub_registry.database import accounts, repositories
from embhub_registry.database.clock import stamp
from embhub_registry.operation import background_tasks
from embhub_registry.operation.opening import open_folder
from embhub_registry.people import rate_limits as pace
from embhub_registry.repositories import access, deletion
from embhub_registry.storage.folder import Registry
from embhub_registry.wire import response_cache
from embhub_registry.wire.response_cache import Cacheable, Key, ResponseCache
from tests.support import postgres, pushes, releases
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

    @property
    def cache(self) -> ResponseCache:
        """The application's."""
        found: ResponseCache = self.application.state.responses
        return found

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

    def is_cached(self, method: str, path: str, **headers: str) -> bool:
        """Whether this request is answered from the cache."""
        before = self.cache.hits
        self.ask(method, path, **headers)
        return self.cache.hits == before + 1


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setattr(
        background_tasks, "SECONDS", 3600.0
    )  # its counters are a commit, too, at which all is forgotten
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


@pytest.mark.parametrize("signed_in", [False, True])
@pytest.mark.parametrize(
    ("method", "address", "status"),
    quick(
        [("GET", FILE, 200), ("HEAD", MAIN_FILE, 307), ("GET", PAGE, 200)],
        thorough=[
            ("HEAD", FILE, 200), ("GET", MAIN_FILE, 200), ("GET", INFO, 200), ("GET", f"{INFO}?blobs=true", 200),
            ("GET", f"{PAGE}?format=json", 200),
        ],
    ),
)  # fmt: skip
def test_a_cached_answer_is_the_one_that_the_application_gave(
    served: Served, method: str, address: str, status: int, signed_in: bool
) -> None:
    headers = {"Authorization": f"Bearer {served.lea}"} if signed_in else {}
    path, before = served.address(address), served.cache.hits
    answers = [served.ask(method, path, **headers) for _ in range(5)]
    late = {3} if postgres.CHOSEN else set()  # on a server, what the first one wrote may come after the second
    assert served.cache.hits - before in {4} | late
    assert all(answer == answers[0] for answer in answers)
    assert answers[0][0] == status
    names = [name for name, _ in answers[0][1]]
    assert len(set(names)) == len(names) and "x-frame-options" in names
    if EMBEDDING in address:
        assert (answers[0][2] == releases.make_release().embedding.data) == (method == "GET")


def test_callers_with_and_without_a_token_share_no_answer(served: Served, path: str) -> None:
    token = {"Authorization": f"Bearer {served.lea}"}
    for address in (path, INFO, PAGE):
        assert [served.is_cached("GET", address) for _ in range(2)] == [False, True]
        assert [served.is_cached("GET", address, **token) for _ in range(2)] == [False, True]
    lines = {key.authorization for key in served.cache._answers}
    assert lines == {"anonymous", "token"}


def test_a_token_is_looked_up_at_every_request(served: Served, path: str) -> None:
    for token in ("emb_" + "x" * 40, served.lea):
        headers = {"Authorization": f"Bearer {token}"}
        expected = 200 if token == served.lea else 401
        assert [served.ask("GET", path, **headers)[0] for _ in range(3)] == [expected] * 3
    assert served.is_cached("GET", path, Authorization=f"Bearer {served.lea}")
    wrong = {"Authorization": f"Bearer {served.lea}x"}
    assert served.ask("GET", path, **wrong)[0] == 401 and served.ask("GET", INFO, **wrong)[0] == 401
    served.registry.run("user", "disable", "lea")
    served.close()  # it was idle meanwhile
    assert served.ask("GET", path, Authorization=f"Bearer {served.lea}")[0] == 401


def test_a_token_that_ended_by_the_clock_is_refused(served: Served, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written when a token ends, so the database says nothing of it."""
    token = {"Authorization": f"Bearer {served.registry.add_user('tom', namespace='lumc', days=1)}"}
    assert [served.ask("GET", path, **token)[0] for _ in range(2)] == [200, 200] and served.is_cached(
        "GET", path, **token
    )
    monkeypatch.setattr("embhub_registry.people.auth.stamp", lambda: "2999-01-01T00:00:00Z")
    assert served.ask("GET", path, **token)[0] == 401


def test_another_form_or_origin_is_another_answer(served: Served) -> None:
    page, facts = served.ask("GET", PAGE), served.ask("GET", PAGE, Accept="application/json")
    assert page[2].startswith(b"<!doctype html>") and facts[2].startswith(b"{")
    assert served.ask("GET", PAGE) == page and served.ask("GET", PAGE, Accept="application/json") == facts
    port = served.registry.url.rsplit(":", 1)[1]
    named = served.ask("GET", PAGE, Host=f"localhost:{port}")[2]
    assert f"http://localhost:{port}".encode() in named and f"http://localhost:{port}".encode() not in page[2]


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
def test_what_was_taken_away_is_not_served_from_the_cache(
    served: Served, method: str, address: str, change: Callable[[Served], None], statuses: tuple[int, ...],
    signed_in: bool,
) -> None:  # fmt: skip
    headers = {"Authorization": f"Bearer {served.lea}"} if signed_in else {}
    path = served.address(address)
    before = [served.ask(method, path, **headers) for _ in range(3)][-1]
    assert before[0] == 200 and served.is_cached(method, path, **headers)
    change(served)
    status, _, body = served.ask(method, path, **headers)
    if change in (gate, disable) and address in (INFO, PAGE):  # it is seen, its files are not
        assert status == 200 and body != before[2]
    else:
        assert status in statuses and (method == "HEAD" or body != before[2])
    assert not served.is_cached(method, path, **headers), "nor is what came in its place kept"


def test_a_branch_that_moved(served: Served) -> None:
    before = [served.ask("HEAD", MAIN_FILE) for _ in range(3)][-1]
    info = [served.ask("GET", INFO) for _ in range(3)][-1]
    release = releases.make_release(artifact=releases.make_embedding(seed=5), version="1.1.0")
    assert pushes.commit(served.registry, NAME, release.files, token=served.alice).status == 200
    assert dict(served.ask("HEAD", MAIN_FILE)[1])["location"] != dict(before[1])["location"]
    assert served.ask("GET", MAIN_FILE)[2] == release.embedding.data
    assert served.ask("GET", INFO)[2] != info[2]


@pytest.mark.parametrize(
    ("name", "value"), quick([("range", "bytes=0-9")], thorough=[("if-none-match", '"x"'), ("if-match", "*")])
)
def test_what_a_header_decides_is_the_applications(served: Served, path: str, name: str, value: str) -> None:
    for _ in range(3):
        served.ask("GET", path)
    assert served.is_cached("GET", path)
    for _ in range(3):
        assert not served.is_cached("GET", path, **{name: value})
    if name == "range":
        assert served.ask("GET", path, Range="bytes=0-9")[0] == 206


@pytest.mark.parametrize("close", quick([hide], thorough=[lambda served: gate(served), lambda served: disable(served)]))
def test_nothing_of_a_repository_that_is_not_open_is_kept(
    served: Served, path: str, close: Callable[[Served], None]
) -> None:
    close(served)
    readers = (served.alice, served.registry.admin)
    for token in readers:
        for address in (path, INFO, PAGE):
            for _ in range(3):
                served.ask("GET", address, Authorization=f"Bearer {token}")
    assert served.ask("GET", path, Authorization=f"Bearer {served.registry.admin}")[0] == 200
    assert not served.cache._answers and not served.cache.hits


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
    assert served.cache.hits == 18
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
    assert served.cache.hits >= 8
    deadline = time.monotonic() + 5
    while logged.getvalue().count('"client": "192.0.2.') < 14 and time.monotonic() < deadline:
        time.sleep(0.01)  # a line comes after its answer
    lines = logged.getvalue()
    assert lines.count('"client": "192.0.2.1"') == 7 and lines.count('"client": "192.0.2.3"') == 7


def make_key(path: bytes) -> Key:
    return Key("anonymous", "GET", path, b"", b"", ("http", b"x"))


def keep(cache: ResponseCache, path: bytes, about: Cacheable, body: bytes = b"") -> None:
    cache.keep(make_key(path), about, status=200, headers=[], body=body, route=None)


def test_an_answer_from_before_a_change_is_not_kept(served: Served) -> None:
    cache, database = ResponseCache(), served.beside.database
    before = cache.moment(database.connection())
    with database.writing() as changed:  # by the same connection, which SQLite's number does not show
        accounts.write_setting(changed, "note", stamp())
    cache.moment(database.connection())
    keep(cache, b"/a", Cacheable(before))
    assert cache.find(make_key(b"/a"), database) is None
    keep(cache, b"/a", Cacheable(cache.moment(database.connection())))
    assert cache.find(make_key(b"/a"), database) is not None
    hide(served)
    assert cache.find(make_key(b"/a"), database) is None


def test_a_page_that_names_minutes_holds_for_one(served: Served) -> None:
    now = 0.0
    cache, database = ResponseCache(clock=lambda: now), served.beside.database
    keep(cache, b"/a", Cacheable(cache.moment(database.connection()), seconds=60))
    now = 59.9
    assert cache.find(make_key(b"/a"), database) is not None
    now = 60.0
    assert cache.find(make_key(b"/a"), database) is None


def test_the_cache_is_bounded(served: Served) -> None:
    cache = ResponseCache(max_answers=3, max_bytes=100)
    moment = cache.moment(served.beside.database.connection())
    for number in range(6):
        keep(cache, b"/%d" % number, Cacheable(moment), b"x" * 30)
        keep(cache, b"/%d" % number, Cacheable(moment), b"x" * 40)
    assert [key.path for key in cache._answers] == [b"/4", b"/5"] and cache._held == 80
    keep(cache, b"/large", Cacheable(moment), b"x" * (response_cache.MAX_BODY_BYTES + 1))
    assert len(cache._answers) == 2
