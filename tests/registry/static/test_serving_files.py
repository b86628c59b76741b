"""A mirror's refresh looks at each whole tile once: what is served already is not read again from the copy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from embhub.client.log import log_reader
from embhub.log.tiles import WIDTH, Tile
from embhub_registry.static import items
from embhub_registry.static.mirror import serving_files
from embhub_registry.static.mirror.holdings import Holdings
from tests.support import logs
from tests.support.logs import MemoryLog
from tests.support.releases import REGISTRY, make_export
from tests.support.statics import contents

KEY = logs.log_key()
ENTRIES = [b"entry %d" % number for number in range(3 * WIDTH + 9)]
BEFORE = ENTRIES[: 2 * WIDTH + 5]
BUNDLE = "log/tile/entries/001"


def write(site: Path, entries: Sequence[bytes]) -> list[Tile]:
    """Serve a log of these entries. Returns the whole tiles that were read from the copy."""
    log, asked = MemoryLog(list(entries), KEY), list[Tile]()

    def read(tile: Tile) -> bytes:
        asked.append(tile)
        return log_reader.read_tile(log, tile)

    serving_files.write(
        site, Holdings(site.parent), registry=REGISTRY, trust=make_export(), checkpoint=log.checkpoint(), read=read,
        audits={},
    )  # fmt: skip
    return [tile for tile in dict.fromkeys(asked) if tile.width == WIDTH]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    assert len(write(tmp_path / "site", BEFORE)) == 4  # two of hashes, and two of entries
    return tmp_path / "site"


def of_the_log(site: Path) -> dict[str, bytes]:
    return {path: data for path, data in contents(site).items() if path.startswith("log/tile/")}


def whole(tmp_path: Path, entries: Sequence[bytes]) -> dict[str, bytes]:
    write(tmp_path / "whole", entries)
    return of_the_log(tmp_path / "whole")


def test_whole_tiles_that_are_served_are_not_read_again(site: Path, tmp_path: Path) -> None:
    assert {(tile.level, tile.number) for tile in write(site, BEFORE)} <= {(0, 0), (0, 1)}, "for the root alone"
    assert Tile(None, 0) not in write(site, ENTRIES)
    assert of_the_log(site) == whole(tmp_path, ENTRIES)


@pytest.mark.parametrize("size", [2 * WIDTH, None])
def test_a_tile_that_is_damaged_or_lost_is_served_anew(site: Path, tmp_path: Path, size: int | None) -> None:
    if size is None:
        (site / BUNDLE).unlink()
    else:
        (site / BUNDLE).write_bytes(b"x" * (site / BUNDLE).stat().st_size)
    assert Tile(None, 1) in write(site, BEFORE)
    assert of_the_log(site) == whole(tmp_path, BEFORE)


def test_a_list_that_is_damaged_or_lost_is_not_relied_on(site: Path, tmp_path: Path) -> None:
    said = json.loads((site / items.MANIFEST).read_bytes())
    said["files"][BUNDLE] = "0" * 64
    for text in (json.dumps(said), json.dumps({**said, "checkpoint": f"{len(BEFORE)}:{'0' * 64}"}), "{}"):
        (site / items.MANIFEST).write_text(text)
        write(site, BEFORE)
        assert of_the_log(site) == whole(tmp_path, BEFORE)


@pytest.mark.parametrize("size", [len(BEFORE), len(ENTRIES), WIDTH + 1])
def test_of_another_log_nothing_is_kept(site: Path, tmp_path: Path, size: int) -> None:
    """The operator began a new log: its tiles have the paths of the old one's."""
    others = [b"other %d" % number for number in range(size)]
    write(site, others)
    assert of_the_log(site) == whole(tmp_path, others)
