"""An increment's log: it grows as a log does, and each file of it is the one under the signed checkpoint."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from embhub.errors import EmbhubError
from embhub.log import checkpoints, merkle, tiles
from embhub.log.building import TreeBuilder
from embhub.log.checkpoints import Checkpoint
from embhub.log.errors import ForkedLogError
from embhub.log.tiles import WIDTH, Tile
from embhub_registry.static import continuing_log, increments, items, layout
from tests.support import logs
from tests.support.quick import quick
from tests.support.statics import contents, make_increment

KEY = logs.log_key()
ENTRIES = [b"entry %d" % number for number in range(700)]


def log_of(entries: list[bytes], *, size: int | None = None) -> dict[str, bytes]:
    """The files of a log in an export; `size` is what its checkpoint says, by default the truth."""
    builder = TreeBuilder()
    builder.add(map(merkle.leaf_hash, entries))
    made = dict(builder.take())
    signed = checkpoints.sign(Checkpoint(KEY.public.name, size or len(entries), builder.root()), by=KEY)

    def read(tile: Tile) -> bytes:
        return tiles.join_entries(entries[tile.first : tile.first + tile.width]) if tile.level is None else made[tile]

    return {item.path: item.read() for item in layout.of_log(signed.to_bytes(), len(entries), read)}


def apply(files: Mapping[str, bytes], copy: Path, stick: Path) -> None:
    """Apply an increment that has what the copy lacks, and lists all."""
    shutil.rmtree(stick, ignore_errors=True)
    make_increment(stick, dict(files))
    for path, data in contents(copy).items():
        if files.get(path) == data:
            (stick / path).unlink()
    increments.apply(stick, copy)


def refused(files: Mapping[str, bytes], copy: Path, stick: Path) -> EmbhubError:
    """Why an increment is refused. The copy stays as it was."""
    before = contents(copy)
    with pytest.raises(EmbhubError) as caught:
        apply(files, copy, stick)
    assert contents(copy) == before
    return caught.value


def test_a_log_that_grows_is_applied(tmp_path: Path) -> None:
    for size in (1, 2, 255, 256, 257, 511, 600):
        files = log_of(ENTRIES[:size])
        apply(files, tmp_path / "copy", tmp_path / "stick")
        held = contents(tmp_path / "copy")
        assert {path: held[path] for path in held if path != items.MANIFEST} == files


@pytest.mark.thorough
def test_a_log_that_gets_a_tile_of_the_third_level_is_applied_with_that_tile_alone(tmp_path: Path) -> None:
    copy, long = tmp_path / "copy", WIDTH * WIDTH
    entries = [b"entry %d" % number for number in range(long + 1)]
    apply(log_of(entries[:-2]), copy, tmp_path / "stick")
    files = log_of(entries)
    for name in ("2/000.p/1", "1/000", "0/000", "0/255", "0/256.p/1", "entries/255", "entries/256.p/1"):
        path = f"log/tile/{name}"
        changed = files[path][:-1] + bytes([files[path][-1] ^ 1])
        assert refused(files | {path: changed}, copy, tmp_path / "stick"), name
    apply(files, copy, tmp_path / "stick")
    assert contents(copy).items() >= files.items()


@pytest.mark.parametrize("known", quick([300], thorough=[0, 10, 256, 600]))
def test_no_file_of_the_log_can_be_another(tmp_path: Path, known: int) -> None:
    """At no size of the log that the copy has: whole tiles and bundles, their parts, those that are new."""
    copy = tmp_path / "copy"
    if known:
        apply(log_of(ENTRIES[:known]), copy, tmp_path / "stick")
    else:
        copy.mkdir()
    files = log_of(ENTRIES[:600])
    for path, data in files.items():
        if path != "log/checkpoint":
            for changed in (data[:-1] + bytes([data[-1] ^ 1]), data[:-32]):
                assert refused(files | {path: changed}, copy, tmp_path / "stick"), path
            assert refused({name: files[name] for name in files if name != path}, copy, tmp_path / "stick"), path
    for stranger in ("0/001", "0/000.p/20", "0/002.p/89", "1/000.p/3", "1/001", "2/000.p/1", "entries/003.p/1"):
        assert refused(files | {f"log/tile/{stranger}": bytes(32)}, copy, tmp_path / "stick"), stranger
    apply(files, copy, tmp_path / "stick")


@pytest.mark.parametrize(("known", "shown"), [(10, 10), (10, 20), (10, 600), (256, 600), (300, 300), (300, 600)])
@pytest.mark.parametrize("place", [0, 9])
def test_another_history_that_is_signed_is_a_fork(tmp_path: Path, known: int, shown: int, place: int) -> None:
    apply(log_of(ENTRIES[:known]), tmp_path / "copy", tmp_path / "stick")
    other = [*ENTRIES[:place], b"other", *ENTRIES[place + 1 : shown]]
    assert isinstance(refused(log_of(other), tmp_path / "copy", tmp_path / "stick"), ForkedLogError)


def test_a_checkpoint_of_a_size_that_nobody_has_ends_at_once(tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    error = refused(log_of(ENTRIES[:10], size=2**62), tmp_path / "copy", tmp_path / "stick")
    assert "lacks tile/entries/000" in error.message


def test_a_log_has_a_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    files = {path: data for path, data in log_of(ENTRIES[:10]).items() if path != "log/checkpoint"}
    assert "and no checkpoint" in refused(files, tmp_path / "copy", tmp_path / "stick").message


def test_a_copy_with_other_tiles_is_mended_by_those_that_were_signed(tmp_path: Path) -> None:
    """A program before this one took them from a stick."""
    files = log_of(ENTRIES[:600])
    make_increment(tmp_path / "copy", log_of(ENTRIES[:300]) | {"log/tile/0/000": bytes(8_192)})
    apply(files, tmp_path / "copy", tmp_path / "stick")
    assert contents(tmp_path / "copy").items() >= files.items()


def test_what_a_copy_has_of_a_long_log_is_not_read_again(tmp_path: Path) -> None:
    apply(log_of(ENTRIES[:600]), tmp_path / "copy", tmp_path / "stick")
    read = list[str]()

    def recording(path: str, data: bytes) -> items.Item:
        def reading() -> bytes:
            read.append(path)
            return data

        return replace(items.of_bytes(path, data, stage=items.TILES), read=reading)

    found = {path: recording(path, data) for path, data in log_of(ENTRIES).items()}
    continuing_log.check(found, tmp_path / "copy", KEY.public, items.in_place(tmp_path / "copy"))
    assert {path for path in read if "entries" in path} == {"log/tile/entries/002.p/188"}
