"""Files that a mirror's own store lost or that were damaged there: they are fetched again, and the mirror goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from embhub.errors import ConfigError
from embhub_registry.static.mirror.following import Mirror
from embhub_registry.static.mirror.running import follow
from tests.support import releases
from tests.support.servers import RunningRegistry, start_registry
from tests.support.statics import contents, publish


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    registry = start_registry(Path(tmp_path_factory.mktemp("store")))
    try:
        registry.add_key(releases.SITE, namespace="radboud")
        publish(registry, "kept", token=registry.add_user("anna", namespace="radboud"))
        yield registry
    finally:
        registry.stop()


def stored(mirror: Mirror) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in (mirror.folder / "blobs").glob("??/*")}


def of_releases(mirror: Mirror) -> dict[str, bytes]:
    return {path: data for path, data in contents(mirror.site).items() if "/resolve/" in path}


def test_what_the_store_lost_is_fetched_again(hub: RunningRegistry, mirror_of: Callable[[str], Mirror]) -> None:
    mirror = mirror_of(hub.url)
    assert mirror.refresh().taken == 1
    before, served = stored(mirror), of_releases(mirror)
    for path in list(before)[:2]:
        path.unlink()
    for name in served:
        (mirror.site / name).unlink()
    assert mirror.refresh().taken == 1
    assert stored(mirror) == before and of_releases(mirror) == served


def test_what_was_damaged_is_fetched_again_when_it_is_judged(
    hub: RunningRegistry, mirror_of: Callable[[str], Mirror]
) -> None:
    mirror = mirror_of(hub.url)
    mirror.refresh()
    before = stored(mirror)
    for path in before:
        path.write_bytes(b"damaged")
    hub.add_key(releases.make_key("another"), namespace="radboud")  # a new keyring: everything is judged anew
    done = mirror.refresh()
    assert not done.problems and done.releases == 1 and stored(mirror) == before


def test_a_damaged_file_that_has_to_be_served_is_told_in_words_and_ends_nothing(
    hub: RunningRegistry, mirror_of: Callable[[str], Mirror]
) -> None:
    mirror = mirror_of(hub.url)
    mirror.refresh()
    for path in stored(mirror):
        path.write_bytes(b"damaged")
    for name in of_releases(mirror):
        (mirror.site / name).unlink()
    with pytest.raises(ConfigError, match="damaged") as caught:
        mirror.refresh()
    assert "held.json" in caught.value.hint
    said: list[str] = []
    follow(mirror, interval=0, wait=lambda _: len(said) == 2, say=said.append)
    assert all("damaged" in line for line in said)
    (mirror.folder / "held.json").unlink()
    assert mirror.refresh().taken == 1 and of_releases(mirror)
