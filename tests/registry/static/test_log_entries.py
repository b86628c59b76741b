"""A mirror proves every entry of its own copy of a log; readers of copies look through the newest entries alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embhub.client.log import log_reader
from embhub.client.log.log_reader import FolderLog
from embhub.durable import write_atomic
from embhub.errors import RegistryError
from embhub.log import merkle, proofs
from embhub.log.errors import MalformedLogError
from embhub.log.tiles import WIDTH, Tile
from embhub_registry.static.mirror import log_entries
from embhub_registry.static.mirror.log_copy import LogCopy
from embhub_registry.static.mirror.log_entries import LeafIndex, LogEntries
from tests.support import logs
from tests.support.logs import MemoryLog

KEY = logs.log_key()


def copy_of(entries: list[bytes], folder: Path, monkeypatch: pytest.MonkeyPatch) -> LogCopy:
    monkeypatch.setenv("EMBHUB_HOME", str(folder / "home"))
    copy = LogCopy(folder / "log", KEY.public)
    copy.follow(MemoryLog(entries, KEY))
    return copy


def opened(copy: LogCopy) -> LogEntries:
    signed = copy.checkpoint()
    assert signed is not None
    return LogEntries(copy.source, signed)


@pytest.mark.parametrize("near", [1, 16])
@pytest.mark.parametrize("size", [1, 255, 256, 257, 700])
def test_every_entry_is_proved_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, near: int
) -> None:
    monkeypatch.setattr(log_entries, "NEAR", near)
    entries = [b"%05d" % number for number in range(size)]
    source = opened(copy_of(entries, tmp_path, monkeypatch))
    for index in {0, size // 2, size - 1}:
        data = log_reader.proof(source, entries[index])
        assert data is not None and (made := proofs.parse(data)).index == index
        assert made.open(entries[index], log=KEY.public).size == size
    assert log_reader.proof(source, b"another") is None


def test_readers_of_other_copies_look_through_the_newest_entries_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_reader, "MOST_SEARCHED", 1)
    entries = [b"%05d" % number for number in range(600)]
    copy = copy_of(entries, tmp_path, monkeypatch)
    with pytest.raises(RegistryError, match="newest 256 of 600 entries"):
        log_reader.proof(FolderLog(copy.folder), entries[0])
    assert log_reader.proof(opened(copy), entries[0]) is not None


def test_the_copy_is_looked_through_once_and_not_at_all_for_what_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_entries, "NEAR", 1)
    entries = [b"%05d" % number for number in range(WIDTH * 8 + 10)]
    copy, asked = copy_of(entries, tmp_path, monkeypatch), list[str]()

    class Counting(FolderLog):
        def read(self, name: str, *, limit: int) -> bytes | None:
            asked.append(name)
            return super().read(name, limit=limit)

    signed = copy.checkpoint()
    assert signed is not None
    source = LogEntries(Counting(copy.folder), signed)
    assert log_reader.proof(source, entries[-1]) is not None and "tile/0/003" not in asked
    for index in range(0, len(entries) - 10, 40):
        assert log_reader.proof(source, entries[index]) is not None
    assert asked.count("tile/0/003") <= 3 + WIDTH // 40 * 2


@pytest.mark.parametrize("damage", [None, b"", b"short"])
def test_a_damaged_copy_is_no_missing_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: bytes | None
) -> None:
    monkeypatch.setattr(log_entries, "NEAR", 1)
    entries = [b"%05d" % number for number in range(700)]
    copy = copy_of(entries, tmp_path, monkeypatch)
    path = copy.folder / "tile/0/001"
    path.unlink()
    if damage is not None:
        path.write_bytes(damage)
    with pytest.raises(RegistryError if damage is None else MalformedLogError):
        log_reader.proof(opened(copy), entries[0])


def test_hashes_that_begin_alike_are_told_apart(tmp_path: Path) -> None:
    """Anybody can make entries whose hashes begin with the same three bytes."""
    alike = [b"\1\2\3" + number.to_bytes(29, "big") for number in range(3 * WIDTH)]
    for number in range(3):
        write_atomic(tmp_path / Tile(0, number).path, b"".join(alike[number * WIDTH : (number + 1) * WIDTH]))
    index, files = LeafIndex(), FolderLog(tmp_path)
    for number in range(3):
        index.add(number, log_reader.read_tile(files, Tile(0, number)))
    for place in (0, WIDTH - 1, WIDTH, 3 * WIDTH - 1):
        assert log_reader.search(files, alike[place], 3 * WIDTH, index.tiles_of(alike[place])) == place
    assert log_reader.search(files, b"\1\2\3" + b"\xff" * 29, 3 * WIDTH, range(3)) is None


@given(st.lists(st.binary(max_size=3), min_size=1, max_size=600), st.binary(max_size=3))
def test_the_index_names_every_tile_of_a_hash(entries: list[bytes], absent: bytes) -> None:
    hashes = [merkle.leaf_hash(entry) for entry in entries]
    index, found = LeafIndex(), dict[bytes, set[int]]()
    for place, hashed in enumerate(hashes):
        index.add(place // WIDTH, hashed)
        found.setdefault(hashed, set()).add(place // WIDTH)
    for hashed, numbers in found.items():
        assert numbers <= set(index.tiles_of(hashed))
    if absent not in entries:
        named = set(index.tiles_of(merkle.leaf_hash(absent)))
        assert named <= {place // WIDTH for place, one in enumerate(hashes) if one[:3] == merkle.leaf_hash(absent)[:3]}
