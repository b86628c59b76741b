"""What is put in place is what was checked, and all that the increment lists."""

from __future__ import annotations

import json
import os
import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from embhub.artifact import embedding
from embhub.errors import ConfigError, UsageError
from embhub_registry.static import continuing, increments, items, layout, nginx_part, writing
from tests.support.servers import run_here
from tests.support.statics import contents, make_increment


def test_a_file_where_another_one_needs_a_folder_is_refused(tmp_path: Path) -> None:
    """One would take the place of the other, and the list would name a file that is not there."""
    copy, stick, place = tmp_path / "copy", tmp_path / "stick", "api/models/radboud/one/tree"
    make_increment(copy, {f"{place}/x/y": b"[]"})
    before = contents(copy)
    make_increment(stick, {f"{place}/x": b"[1]"})
    both = [items.of_bytes(path, data, stage=0) for path, data in ((f"{place}/x/y", b"[]"), (f"{place}/x", b"[1]"))]
    (stick / items.MANIFEST).write_bytes(items.manifest(both, registry="", checkpoint="").read())
    with pytest.raises(UsageError, match="needs a folder"):
        increments.apply(stick, copy)
    assert contents(copy) == before


def test_bytes_that_were_checked_are_those_that_are_put_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device can answer otherwise each time that it is read."""
    copy, check = tmp_path / "copy", continuing.check
    good, evil = nginx_part.write([]).read(), nginx_part.write([]).read() + b"location / { autoindex on; }\n"
    make_increment(copy, {nginx_part.PATH: good})
    stick = make_increment(tmp_path / "stick", {nginx_part.PATH: evil})
    before = contents(copy)

    def while_it_answers_otherwise(found: Mapping[str, items.Item], folder: Path) -> None:
        (stick / nginx_part.PATH).write_bytes(good)
        check(found, folder)
        (stick / nginx_part.PATH).write_bytes(evil)

    monkeypatch.setattr(continuing, "check", while_it_answers_otherwise)
    with pytest.raises(UsageError, match=r"nginx\.conf changed while it was read"):
        increments.apply(stick, copy)
    assert contents(copy) == before


def test_what_a_person_reads_and_the_list_of_all_files_are_written_anew(tmp_path: Path) -> None:
    """Also where another version of the program wrote other words; and increments after that are applied, too."""
    copy, whole = tmp_path / "copy", tmp_path / "whole"
    status = {"embhub/v1/status/radboud/one": b"{}\n"}
    make_increment(whole, {layout.README_PATH: layout.README} | status)
    for number, (words, held) in enumerate(((b"Confirm SHA256:evil", status), (b"A text of another version", {}))):
        stick = make_increment(tmp_path / f"stick {number}", {layout.README_PATH: words} | status)
        for path in status.keys() - held.keys():
            (stick / path).unlink()
        said = json.loads((stick / items.MANIFEST).read_bytes())
        (stick / items.MANIFEST).write_text(json.dumps({**said, "later": "<script>"}, indent=1))
        increments.apply(stick, copy)
        assert contents(copy) == contents(whole)
        (stick / layout.README_PATH).unlink()
        increments.apply(stick, copy)
        assert contents(copy) == contents(whole)


def statuses(count: int) -> dict[str, bytes]:
    return {f"embhub/v1/status/radboud/r{number}": b"{}\n" for number in range(count)}


def test_an_increment_brings_at_most_so_many_bytes(tmp_path: Path) -> None:
    """Each file has a largest size, and a list names two million of them. Small files take a block each."""
    copy, stick, room = tmp_path / "copy", tmp_path / "stick", 10 * (writing.BLOCK + 3)
    make_increment(copy, {})
    make_increment(stick, statuses(12))
    (stick / max(statuses(12))).unlink()  # not looked for: the limit is reached before
    before = contents(copy)
    with pytest.raises(UsageError, match="more than 40,990 bytes"):
        increments.apply(stick, copy, most=room)
    assert contents(copy) == before
    make_increment(tmp_path / "less", statuses(10))
    words = ("export", "--static", copy, "--apply", tmp_path / "less", "--max-bytes")
    assert run_here(*words, str(room - 1), check=False).returncode == 2 and contents(copy) == before
    assert run_here(*words, str(room)).returncode == 0
    make_increment(tmp_path / "more", statuses(20))
    increments.apply(tmp_path / "more", copy, most=room)  # ten of them are in the copy
    done = run_here("export", "--static", copy, "--max-bytes", "1", check=False)
    assert done.returncode == 2 and "--max-bytes needs --apply" in done.stderr


def test_nothing_is_written_where_the_disk_has_no_room_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy, stick, free = make_increment(tmp_path / "copy", {}), make_increment(tmp_path / "stick", statuses(2)), [0, 0]

    class Facts(NamedTuple):
        f_bavail: int
        f_frsize: int
        f_files: int
        f_favail: int

    monkeypatch.setattr("os.statvfs", lambda path: Facts(free[0], 1, 1000, free[1]))
    before, needed = contents(copy), 2 * (writing.BLOCK + 3)
    for free[:], said in (([needed, 99], "bytes are free"), ([10**9, 2], "files can be made")):
        with pytest.raises(ConfigError, match=said):
            increments.apply(stick, copy)
        assert contents(copy) == before, "nothing was staged either"
    free[:] = [10**9, 99]
    increments.apply(stick, copy)
    free[:] = [0, 0]
    increments.apply(stick, copy)  # nothing to write


COMMIT = f"radboud/one/resolve/{'0123456789' * 4}"
LIMITS = {
    f"{COMMIT}/.gitattributes": 4_000, f"{COMMIT}/README.md": 256_000, f"{COMMIT}/audit.json": 2_000_000,
    f"{COMMIT}/attestations/publish.sigstore.json": 64_000, f"{COMMIT}/attestations/publish.tlog-proof": 64_000,
    f"{COMMIT}/learned_embeds.safetensors": embedding.MAX_BYTES, f"{COMMIT}/samples.png": 512_000,
    "api/models/index.html": 32_000_000, "api/models/radboud/one/refs": 32_000_000,
    "embhub/v1/status/radboud/one": 32_000_000, f"embhub/v1/designs/{'0' * 64}": 32_000_000,
    "embhub/v1/trust": 5_000_000, "embhub/v1/advisories": 1_500_000, nginx_part.PATH: 100_000_000,
    "log/checkpoint": 64_000, "log/tile/0/000": 8_192, "log/tile/0/000.p/3": 96, "log/tile/entries/000.p/3": 196_611,
}  # fmt: skip


@pytest.mark.parametrize(("path", "limit"), LIMITS.items(), ids=LIMITS)
@pytest.mark.parametrize("where", ["stick", "copy"])
def test_a_file_that_is_too_large_for_its_path_is_refused_and_not_read(
    tmp_path: Path, path: str, limit: int, where: str
) -> None:
    """On a stick, and in a copy in which something else put it."""
    folders = {name: make_increment(tmp_path / name, {}) for name in ("copy", "stick")}
    digests = {path: "0" * 64}
    for name, folder in folders.items():
        said = json.loads((folder / items.MANIFEST).read_bytes())
        (folder / items.MANIFEST).write_text(json.dumps(said | {"files": digests if name == "stick" else {}}))
    place = folders[where] / path
    place.parent.mkdir(parents=True, exist_ok=True)
    for size in (limit + 1, 2**33):
        with place.open("wb") as stream:
            stream.truncate(size)  # a hole, which takes no room
        tracemalloc.start()
        try:
            with pytest.raises(UsageError, match=f"has more than {limit:,} bytes"):
                increments.apply(folders["stick"], folders["copy"])
            assert tracemalloc.get_traced_memory()[1] < 1_000_000
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("size", [4_000, 4_001])
def test_a_file_as_large_as_its_path_may_have_is_taken(tmp_path: Path, size: int) -> None:
    path = f"{COMMIT}/.gitattributes"
    stick = make_increment(tmp_path / "stick", {path: b"x" * size})
    if size > 4_000:
        with pytest.raises(UsageError, match="more than 4,000 bytes"):
            increments.apply(stick, tmp_path / "copy")
        assert not (tmp_path / "copy").exists()
    else:
        increments.apply(stick, tmp_path / "copy")
        assert (tmp_path / "copy" / path).stat().st_size == size


def test_a_list_of_all_files_that_is_too_large_or_costs_too_much_is_refused(tmp_path: Path) -> None:
    stick = make_increment(tmp_path / "stick", {})
    with (stick / items.MANIFEST).open("wb") as stream:
        stream.truncate(2**33)
    with pytest.raises(UsageError, match="too large"):
        increments.apply(stick, tmp_path / "copy")
    (stick / items.MANIFEST).write_bytes(b'{"x":[' + b"{}," * 2_600_000 + b"{}]}")
    tracemalloc.start()
    try:
        with pytest.raises(UsageError, match="not the list of an export"):
            increments.apply(stick, tmp_path / "copy")
        assert tracemalloc.get_traced_memory()[1] < 60_000_000, "read, it takes 190 MB"
    finally:
        tracemalloc.stop()


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    """A pipe would keep the program waiting for ever."""
    path = f"{COMMIT}/README.md"
    stick = make_increment(tmp_path / "stick", {path: b""})
    for make in (os.mkfifo, os.mkdir):
        (stick / path).unlink(missing_ok=True)
        make(stick / path)
        with pytest.raises(UsageError, match="neither the increment nor the export"):
            increments.apply(stick, tmp_path / "copy")
