"""A round asks for what list, keyring, withdrawals and log say has changed, and for nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from embhub.errors import ConfigError
from embhub_registry.static.mirror import serving_files, turns
from embhub_registry.static.mirror.following import Mirror
from tests.support import evaluations, hostile, releases
from tests.support.hostile import Middleman
from tests.support.servers import RunningRegistry, start_registry
from tests.support.statics import contents, publish

OF_ONE = ("/api/models/radboud/", "/embhub/v1/")  # questions about one repository or embedding, but for `trust`


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    registry = start_registry(Path(tmp_path_factory.mktemp("unchanged")))
    try:
        registry.add_key(releases.SITE, namespace="radboud")
        alice = registry.add_user("alice", namespace="radboud")
        for seed, name in enumerate(("one", "two", "three")):
            publish(registry, name, token=alice, seed=seed)
        publish(registry, "one", token=alice, seed=10, version="1.1.0")
        yield registry
    finally:
        registry.stop()


@pytest.fixture
def middle(hub: RunningRegistry) -> Iterator[Middleman]:
    with hostile.stand_between(hub.url) as made:
        yield made


def asked(middle: Middleman, mirror: Mirror) -> list[str]:
    """What one round asks about single repositories and embeddings."""
    before = len(middle.requests)
    mirror.refresh()
    paths = [path for _, path, *_ in middle.requests[before:]]
    return [path for path in paths if path.startswith(OF_ONE) and not path.startswith("/embhub/v1/trust")]


def test_a_round_with_nothing_new_asks_about_no_release(
    middle: Middleman, mirror_of: Callable[[str], Mirror], monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = mirror_of(middle.url)
    assert len(asked(middle, mirror)) > 20
    before = contents(mirror.site)
    assert asked(middle, mirror) == []
    after = contents(mirror.site)
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    assert changed <= {"log/checkpoint", "embhub/v1/static.json", "embhub/v1/trust", "embhub/v1/advisories"}
    monkeypatch.setattr(turns, "TRUSTED_FOR", 0.0)
    assert len(asked(middle, mirror)) > 10, "not all that may change is in lists or the log"


def test_an_older_release_in_quarantine_is_dropped_by_the_next_round(
    hub: RunningRegistry, middle: Middleman, mirror_of: Callable[[str], Mirror]
) -> None:
    mirror = mirror_of(middle.url)
    held = mirror.refresh().releases
    hub.run("curate", "quarantine", "set", "radboud/one", "--version", "1.0.0", "--reason", "a copy is suspected")
    try:
        done = mirror.refresh()
        assert (done.releases, done.dropped) == (held - 1, 1)
    finally:
        hub.run("curate", "quarantine", "lift", "radboud/one", "--version", "1.0.0")
    assert mirror.refresh().releases == held


def test_what_others_found_arrives_with_the_next_round(
    hub: RunningRegistry, middle: Middleman, mirror_of: Callable[[str], Mirror]
) -> None:
    mirror, digest = mirror_of(middle.url), releases.make_embedding(seed=1).digest
    hub.add_key(evaluations.KEY, namespace="umcu", role="evaluate")
    token = hub.add_user("eva", namespace="umcu", role="reader")
    mirror.refresh()
    path = mirror.site / "embhub/v1/evaluations" / digest
    assert not path.exists()
    made = evaluations.signed(digest, repository="radboud/two")
    assert hub.request("POST", f"/embhub/v1/evaluations/{digest}", token=token, json_body=made).status == 200
    assert not any("/api/models/radboud/two" in question for question in asked(middle, mirror)), "no commit was made"
    assert path.exists()


def test_what_a_failed_round_took_is_asked_for_again(
    hub: RunningRegistry, mirror_of: Callable[[str], Mirror], monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = mirror_of(hub.url)
    with monkeypatch.context() as patch:
        patch.setattr(serving_files, "write", _fail)
        with pytest.raises(ConfigError, match="no room"):
            mirror.refresh()
    assert mirror.refresh().releases == 4
    (mirror.folder / "held.json").unlink()
    assert mirror.refresh().releases == 4, "as its hint says: all is fetched again"


def _fail(*_: object, **__: object) -> None:
    raise ConfigError("no room is left", "free some")
