"""A mirror of a registry with much that it does not take, as after a key was removed: it follows all the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from embhub.client.log import http_log, log_reader
from embhub.client.wire.deadline import within
from embhub.client.wire.errors import AnswerTooSlowError
from embhub_registry.static.mirror import following
from embhub_registry.static.mirror.following import Mirror, Round
from tests.support import hostile, releases
from tests.support.servers import RunningRegistry, start_registry
from tests.support.statics import contents, publish

DRIPPING = hostile.drip(b"a", pause=0.1, first=b"HTTP/1.1 200 OK\r\nX-Slow: ", framed=False)  # a header without end
KEPT = "umcu"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    """Three releases of a key that counts. Each test adds a namespace of its own."""
    registry = start_registry(Path(tmp_path_factory.mktemp("many")))
    try:
        publish_three(registry, KEPT)
        yield registry
    finally:
        registry.stop()


def publish_three(registry: RunningRegistry, namespace: str) -> str:
    """Three releases by a new key of a new namespace; the key's fingerprint."""
    key = releases.make_key(namespace)
    fingerprint = registry.add_key(key, namespace=namespace)
    token = registry.add_user(f"user-of-{namespace}", namespace=namespace)
    for number in range(3):
        publish(registry, f"many-{number}", token=token, seed=number, namespace=namespace, key=key)
    return fingerprint


def remove(registry: RunningRegistry, key: str, namespace: str) -> None:
    """Remove a key of a namespace, which has another one then: its repositories stay listed."""
    registry.add_key(releases.make_key(f"next of {namespace}"), namespace=namespace)
    registry.run("key", "remove", key)


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of three are more than a mirror looks at in one round."""
    monkeypatch.setattr(following, "MOST_REFUSED", 1)


def held(mirror: Mirror, namespace: str) -> set[str]:
    """The releases of a namespace that are served, each by the folder of its files."""
    paths = (path for path in contents(mirror.site) if path.startswith(f"{namespace}/") and "/resolve/" in path)
    return {path.split("/resolve/")[0] for path in paths}


def refreshed(mirror: Mirror, until: Callable[[Round], bool]) -> Round:
    """The first round of which this is so, of at most ten."""
    return next(done for done in (mirror.refresh() for _ in range(10)) if until(done))


def ends(call: Callable[[], object]) -> None:
    """What takes a minute is held up."""
    within(60, call, otherwise=AssertionError("the round did not end"))


def test_a_round_is_not_held_up_by_a_log_that_drips(
    hub: RunningRegistry, mirror_of: Callable[[str], Mirror], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_log, "guard", SimpleNamespace(LONGEST_CALL=1.0))  # of the log alone
    with hostile.stand_between(hub.url) as middle:
        middle.lies = {"/log/": DRIPPING}
        mirror = mirror_of(middle.url)
        with pytest.raises(AnswerTooSlowError, match="bytes of its log in"):
            ends(mirror.refresh)


@pytest.mark.thorough
def test_a_round_is_not_held_up_by_a_log_that_drips_when_it_is_sent_a_cosignature(
    hub: RunningRegistry, mirror_of: Callable[[str], Mirror], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_log, "guard", SimpleNamespace(LONGEST_CALL=5.0))
    with hostile.stand_between(hub.url) as middle:
        middle.lies = {"/log/cosignature": DRIPPING}
        mirror = mirror_of(middle.url)
        ends(mirror.refresh)
        assert any(path == "/log/cosignature" for _, path, *_ in middle.requests)
        assert mirror.state.read()["failed"] is None and (mirror.site / "log/checkpoint").is_file()


def test_a_release_is_taken_however_old_its_entry_is(
    hub: RunningRegistry, mirror_of: Callable[[str], Mirror], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers of other copies look through the newest entries alone; here they look through none."""
    monkeypatch.setattr(log_reader, "MOST_SEARCHED", 0)
    mirror = mirror_of(hub.url)
    refreshed(mirror, lambda done: not done.problems)
    assert len(held(mirror, KEPT)) == 3


def test_releases_that_are_not_in_the_log_yet_do_not_count_as_refused(
    hub: RunningRegistry, mirror_of: Callable[[str], Mirror]
) -> None:
    early = hub.get("/log/checkpoint").body
    publish_three(hub, "early")
    with hostile.stand_between(hub.url) as middle:
        mirror = mirror_of(middle.url)
        middle.lies = {"/log/checkpoint": hostile.edited(lambda body: early)}
        done = refreshed(mirror, lambda done: all("early/" in text for text in done.problems))
        assert sum("has no entry for this release" in text for text in done.problems) == 3
        assert len(held(mirror, KEPT)) == 3 and held(mirror, "early") == set()
        middle.lies = {}
        assert mirror.refresh().taken == 3 and len(held(mirror, "early")) == 3


def test_what_cannot_be_fetched_keeps_nothing_else_away(
    hub: RunningRegistry, mirror_of: Callable[[str], Mirror]
) -> None:
    publish_three(hub, "broken")
    with hostile.stand_between(hub.url) as middle:
        mirror = mirror_of(middle.url)
        middle.lies = {f"/broken/many-{number}/resolve": lambda handler: handler.send(404, b"") for number in range(3)}
        done = refreshed(mirror, lambda done: len(held(mirror, KEPT)) == 3)
        assert held(mirror, "broken") == set() and done.problems
        middle.lies = {}
        refreshed(mirror, lambda done: not done.problems)
        assert len(held(mirror, "broken")) == 3


def test_a_new_mirror_comes_to_hold_what_verifies_and_fetches_few_others_in_a_round(
    hub: RunningRegistry, mirror_of: Callable[[str], Mirror]
) -> None:
    remove(hub, publish_three(hub, "gone"), "gone")
    with hostile.stand_between(hub.url) as middle:
        mirror = mirror_of(middle.url)
        fetched, rounds = set[str](), 0
        while done := mirror.refresh().problems:
            paths = {path.split("/resolve/")[0] for _, path, *_ in middle.requests if "/resolve/" in path}
            refused = {path for path in paths if path.startswith(("/gone/", "/removed/"))}
            assert len(refused) == 1 and not refused & fetched, "one a round, and none a second time"
            fetched |= refused
            rounds += 1
            assert len(done) == 1 or "that later refreshes look at, after 1 were refused" in done[1]
            middle.requests.clear()
    assert rounds == len(fetched) >= 3
    assert held(mirror, KEPT) == {f"{KEPT}/many-{number}" for number in range(3)} and not held(mirror, "gone")


def test_releases_of_a_removed_key_are_dropped_in_one_refresh_however_many(
    hub: RunningRegistry, mirror_of: Callable[[str], Mirror]
) -> None:
    key = publish_three(hub, "removed")
    mirror = mirror_of(hub.url)
    refreshed(mirror, lambda done: not done.problems)
    assert len(held(mirror, "removed")) == 3 and len(held(mirror, KEPT)) == 3
    remove(hub, key, "removed")
    token = hub.add_user("una", namespace=KEPT)
    publish(hub, "later", token=token, seed=9, namespace=KEPT, key=releases.make_key(KEPT))
    hub.run("curate", "yank", f"{KEPT}/many-1", "--reason", "wrong anatomy on the card")
    done = mirror.refresh()
    assert (done.taken, done.dropped) == (1, 4) and sum("removed/" in text for text in done.problems) == 3
    assert held(mirror, "removed") == set() and held(mirror, KEPT) == {
        f"{KEPT}/{name}" for name in ("many-0", "many-2", "later")
    }
    again = mirror.refresh()
    assert (again.taken, again.dropped) == (0, 0)
    assert not any("removed/" in text for text in again.problems), "what was refused is not judged again"
    hub.run("curate", "unyank", f"{KEPT}/many-1")
    hub.run("repo", "delete", f"{KEPT}/later", "--reason", "of this test alone")
