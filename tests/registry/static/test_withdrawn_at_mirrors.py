"""What a mirror's own signed list takes back is not served any more, however slow the registry answers all the rest."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from embhub.errors import RegistryError
from embhub.refusals import RollbackError
from embhub_registry.static.mirror import following, running, turns, web
from embhub_registry.static.mirror.following import Mirror
from tests.support import hostile, releases
from tests.support.hostile import Handler
from tests.support.servers import RunningRegistry, start_registry
from tests.support.statics import contents, publish

INTERVAL = 2.0
GOAL = 5.0  # seconds after the list arrived


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[RunningRegistry]:
    registry = start_registry(tmp_path / "followed")
    try:
        registry.add_key(releases.SITE, namespace="radboud")
        alice = registry.add_user("alice", namespace="radboud")
        for seed, name in enumerate(("erased", "yanked", "kept")):
            publish(registry, name, token=alice, seed=seed)
        yield registry
    finally:
        registry.stop()


def late(seconds: float, over: threading.Event) -> hostile.Answer:
    """An honest answer, so much later."""

    def answer(handler: Handler) -> None:
        over.wait(seconds)
        handler.server.registry.answer_honestly(handler, handler.path)

    return answer


@contextmanager
def followed(mirror: Mirror) -> Iterator[list[str]]:
    """The mirror as a program follows: in threads, until the block ends. What it says."""
    over, said = threading.Event(), list[str]()
    options = {"interval": INTERVAL, "wait": over.wait, "say": said.append}
    thread = threading.Thread(target=running.follow, args=(mirror,), kwargs=options, daemon=True)
    thread.start()
    try:
        yield said
    finally:
        over.set()
        thread.join(60)


def status(mirror: Mirror, path: str) -> int:
    async def ask() -> int:
        transport = httpx.ASGITransport(web.build(mirror, interval=INTERVAL), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://mirror") as client:
            return (await client.get(path)).status_code

    return asyncio.run(ask())


def until(true: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.05)
    return true()


@pytest.mark.parametrize("under_way", [False, True], ids=["before the round", "while a round hangs"])
def test_a_slow_upstream_does_not_keep_a_withdrawn_file_served(
    hub: RunningRegistry, mirror_of: Callable[[str], Mirror], under_way: bool
) -> None:
    over = threading.Event()
    with hostile.stand_between(hub.url) as middle:
        mirror = mirror_of(middle.url)
        assert mirror.refresh().releases == 3
        file = next(f"/{path}" for path in contents(mirror.site) if path.startswith("radboud/erased/resolve/"))
        assert status(mirror, file) == 200
        slow = {"/api/models": late(30, over), "/log/checkpoint": late(30, over)}

        def withdraw() -> None:
            hub.run("curate", "yank", "radboud/erased", "--scope", "bytes", "--reason", "consent was withdrawn")

        if not under_way:
            withdraw()
        middle.lies = slow
        with followed(mirror):
            if under_way:
                assert until(lambda: any("/log/checkpoint" in path for _, path, *_ in middle.requests[-3:]), 20)
                withdraw()
            try:
                arrived = until(lambda: b"consent was withdrawn" in _listed(mirror), 20)
                began = time.monotonic()
                assert arrived and until(lambda: status(mirror, file) == 410, GOAL), time.monotonic() - began
                found = web.describe(mirror, interval=INTERVAL)
                assert found["withdrawals"] >= 1 and found["withdrawals_age_seconds"] <= 20
            finally:
                over.set()
        assert not any("erased/resolve" in path for path in contents(mirror.site))
        assert any("kept/resolve" in path for path in contents(mirror.site))


def _listed(mirror: Mirror) -> bytes:
    said = json.loads((mirror.folder / "trust.json").read_bytes())["advisories"]
    return base64.b64decode(said["payload"]) if said else b""


def test_a_round_that_began_before_a_withdrawal_does_not_serve_it_again(
    hub: RunningRegistry, mirror_of: Callable[[str], Mirror], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds what it read in memory, and the list came meanwhile."""
    monkeypatch.setattr(turns, "TRUSTED_FOR", 0.0)  # every round asks for every repository
    over = threading.Event()
    with hostile.stand_between(hub.url) as middle:
        mirror = mirror_of(middle.url)
        mirror.refresh()
        middle.lies = {"/embhub/v1/status/radboud/kept": late(30, over)}
        round_ = threading.Thread(target=mirror.refresh)
        round_.start()
        assert until(lambda: any("status/radboud/kept" in path for _, path, *_ in middle.requests[-1:]), 20)
        hub.run("curate", "yank", "radboud/erased", "--scope", "bytes", "--reason", "consent was withdrawn")
        mirror.withdraw()
        assert not any("erased/resolve" in path for path in contents(mirror.site))
        over.set()
        round_.join(60)
        assert not any("erased/resolve" in path for path in contents(mirror.site))
        assert any("kept/resolve" in path for path in contents(mirror.site))


def test_a_round_has_a_deadline_and_the_next_one_goes_on(
    hub: RunningRegistry, mirror_of: Callable[[str], Mirror], monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()
    alice = hub.add_user("anton", namespace="radboud")
    for seed in range(3, 9):
        publish(hub, f"more-{seed}", token=alice, seed=seed)
    monkeypatch.setattr(following, "LONGEST_ROUND", 2.0)
    with hostile.stand_between(hub.url) as middle:
        middle.lies = {"/embhub/v1/status": late(0.4, over)}
        mirror = mirror_of(middle.url)
        started = time.monotonic()
        done = mirror.refresh()
        assert done.left > 0 and time.monotonic() - started < 8
        middle.lies = {}
        monkeypatch.setattr(following, "LONGEST_ROUND", 0.0)
        counts = [done.releases]
        while counts[-1] < 9 and len(counts) < 20:
            counts.append(mirror.refresh().releases)
        assert counts == sorted(counts) and counts[-1] == 9, "each round looks at one release at least"
        monkeypatch.setattr(following, "LONGEST_ROUND", 60.0)
        done = mirror.refresh()
        assert done.left == 0 and done.releases == 9


def test_a_mirror_whose_list_is_old_says_so(hub: RunningRegistry, mirror_of: Callable[[str], Mirror]) -> None:
    with hostile.stand_between(hub.url) as middle:
        mirror = mirror_of(middle.url)
        mirror.refresh()
        assert web.describe(mirror, interval=3600)["ready"]
        middle.lies = {"/embhub/v1/trust": hostile.raw(b"HTTP/1.1 503 no\r\nContent-Length: 0\r\n\r\n")}
        with pytest.raises(RegistryError):
            mirror.withdraw()
        assert until(lambda: not web.describe(mirror, interval=0.1)["ready"], 10)


def test_a_trust_answer_that_lost_its_timestamp_is_not_taken(
    hub: RunningRegistry, mirror_of: Callable[[str], Mirror]
) -> None:
    def stripped(body: bytes) -> bytes:
        return json.dumps({**json.loads(body), "timestamp": None}).encode()

    with hostile.stand_between(hub.url) as middle:
        mirror = mirror_of(middle.url)
        mirror.refresh()
        before = (mirror.folder / "trust.json").read_bytes()
        assert json.loads(before)["timestamp"] is not None
        middle.lies = {"/embhub/v1/trust": hostile.edited(stripped)}
        with pytest.raises(RollbackError, match="timestamp"):
            mirror.refresh()
        assert (mirror.folder / "trust.json").read_bytes() == before
