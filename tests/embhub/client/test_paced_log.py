"""A registry that drips its log ends the reading, and a slow line is no fault."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from embhub.__main__ import main
from embhub.client.log import http_log, logged
from embhub.client.log.http_log import PacedLog
from embhub.client.pulling import pull as pulling
from embhub.client.trusted import roots
from embhub.client.wire import guard
from embhub.client.wire.errors import AnswerTooSlowError
from embhub.client.wire.hub import Hub
from embhub_registry.static.mirror.following import Mirror
from tests.support import hostile, releases
from tests.support.servers import RunningRegistry, running_registry

DRIPPING = hostile.drip(b"a", pause=0.1, first=b"HTTP/1.1 200 OK\r\nX-Slow: ", framed=False)  # a header without end


def slowly(handler: hostile.Handler) -> None:
    """As `DRIPPING`, and after ten seconds there is no such file: who waits so long is not held for ever."""
    handler.close_connection = True
    handler.wfile.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nX-Slow: ")
    with suppress(OSError):
        for _ in range(100):
            handler.wfile.write(b"a")
            time.sleep(0.1)
        handler.wfile.write(b"\r\n\r\n")


class Dripping:
    """Each answer takes so many seconds by the test's clock."""

    def __init__(self, answer: bytes | None, *, seconds: float) -> None:
        self.answer, self.seconds, self.time = answer, seconds, 0.0

    def read(self, name: str, *, limit: int) -> bytes | None:
        self.time += self.seconds
        return self.answer

    def post(self, name: str, body: bytes) -> bytes:
        self.time += self.seconds
        return b""


def reads(log: Dripping, most: int) -> int:
    """How many files are read before the reading is given up; at most so many."""
    paced = PacedLog(log, now=lambda: log.time)
    for count in range(most):
        try:
            paced.read("tile/entries/000", limit=1_000_000)
        except AnswerTooSlowError:
            return count
    return most


@pytest.mark.parametrize("answer", [None, b"", b"x" * 10_000])
def test_a_log_that_drips_is_given_up_after_some_ten_minutes(answer: bytes | None) -> None:
    log = Dripping(answer, seconds=20.0)
    assert 25 <= reads(log, 1_000) <= 40 and log.time <= http_log.FREE_SECONDS + 40


def test_a_line_of_one_megabit_a_second_may_take_days() -> None:
    log = Dripping(b"x" * 125_000 * 100, seconds=100.0)
    assert reads(log, 2_000) == 2_000


def test_what_is_sent_counts_too() -> None:
    log = Dripping(b"", seconds=400.0)
    paced = PacedLog(log, now=lambda: log.time)
    for _ in range(2):
        paced.post("cosignature", b"x")
    with pytest.raises(AnswerTooSlowError, match="0 bytes of its log in 800 s"):
        paced.post("cosignature", b"x")


@pytest.mark.parametrize("ask", [lambda log: log.read("checkpoint", limit=9), lambda log: log.post("cosignature", b"")])
def test_one_answer_whose_headers_never_end_is_given_up(
    monkeypatch: pytest.MonkeyPatch, ask: Callable[[PacedLog], object]
) -> None:
    ended = threading.Event()

    class Silent:
        def read(self, name: str, *, limit: int) -> bytes | None:
            ended.wait(60)
            return None

        def post(self, name: str, body: bytes) -> bytes:
            ended.wait(60)
            return b""

    monkeypatch.setattr(guard, "LONGEST_CALL", 0.2)
    with pytest.raises(AnswerTooSlowError):
        ask(PacedLog(Silent()))
    ended.set()


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path_factory.mktemp("hub")) as registry:
        registry.add_key(releases.SITE, namespace="radboud")
        Hub(registry.url, token=registry.add_user("alice", namespace="radboud")).push(
            releases.make_release(), releases.REPOSITORY
        )
        yield registry


@pytest.mark.parametrize("part", ["checkpoint", "tile/entries"])
@pytest.mark.parametrize("command", [["log", "watch"], ["log", "verify"]], ids=" ".join)
def test_a_monitor_reads_at_a_pace(
    hub: RunningRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    command: list[str], part: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "site"))
    with hostile.stand_between(hub.url) as between:
        roots.add_root(between.url, fingerprint=hub.root_fingerprint)
        monkeypatch.setattr(guard, "LONGEST_CALL", 1.0)
        between.lies[f"/log/{part}"] = slowly
        began = time.monotonic()
        assert main([*command, between.url]) == 5
        assert time.monotonic() - began < 8 and "then too little" in capsys.readouterr().err


def test_a_mirror_reads_at_a_pace(hub: RunningRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "mirror/home"))
    with hostile.stand_between(hub.url) as between:
        following = Mirror(tmp_path / "mirror", between.url, "mirror.example.net")
        following.pin(hub.root_fingerprint)
        monkeypatch.setattr(guard, "LONGEST_CALL", 1.0)
        between.lies["/log/checkpoint"] = slowly
        began = time.monotonic()
        with pytest.raises(AnswerTooSlowError, match=r"of its log in .* too little"):
            following.refresh()
        assert time.monotonic() - began < 8


@pytest.mark.parametrize("part", ["proof", "checkpoint"])
def test_a_pull_ends_where_the_log_drips(
    hub: RunningRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """Its headers come one byte at a time, each before the client's patience for silence is over."""
    with hostile.stand_between(hub.url) as between:
        monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "site"))
        roots.add_root(between.url, fingerprint=hub.root_fingerprint)
        monkeypatch.setattr(guard, "LONGEST_CALL", 3.0)
        between.lies[f"/log/{part}"] = DRIPPING
        if part == "checkpoint":
            between.lies["/log/proof"] = lambda handler: handler.send_error(404)  # as files alone answer
        began = time.monotonic()
        found = pulling.pull(releases.REPOSITORY, registry=between.url, out=tmp_path / "out")
        assert time.monotonic() - began < 20
    (said,) = [one for one in found.findings if one.check == logged.CHECK]
    assert said.outcome == "warning" and "then too little" in said.text, said
