"""A mirror's copy of a log tells another history from an older answer, at every size."""

from __future__ import annotations

import hashlib
import shutil
import tracemalloc
from pathlib import Path

import pytest

from embhub.client.log import log_memory
from embhub.errors import RegistryError
from embhub.log import tiles
from embhub.log.errors import ForkedLogError, MalformedLogError
from embhub.site import config
from embhub_registry.static import layout
from embhub_registry.static.mirror.log_copy import LogCopy
from tests.support import logs
from tests.support.logs import MemoryLog

KEY = logs.log_key()
ENTRIES = [logs.make_leaf(number).to_bytes() for number in range(12)]


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LogCopy:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    return LogCopy(tmp_path / "log", KEY.public)


@pytest.mark.parametrize("known", [7, 8])
@pytest.mark.parametrize("shown", [3, 4, 7, 8, 12])
def test_another_history_is_a_fork_with_evidence(copy: LogCopy, known: int, shown: int) -> None:
    copy.follow(MemoryLog(ENTRIES[:known], KEY))
    with pytest.raises(ForkedLogError) as caught:
        copy.follow(MemoryLog([b"other", *ENTRIES[1:shown]], KEY))
    (evidence,) = (config.paths().state / "log-forks").iterdir()
    assert str(evidence) in caught.value.hint
    held = copy.checkpoint()
    assert held is not None and held.size == known


@pytest.mark.parametrize("memory", [None, 5])
@pytest.mark.parametrize("shown", [3, 4, 7, 8, 12, 300])
def test_another_history_is_a_fork_where_the_memory_is_lost_or_older_than_the_copy(
    copy: LogCopy, tmp_path: Path, memory: int | None, shown: int
) -> None:
    """As after a restore of a part: the copy's own checkpoint is what a log has to continue."""
    copy.follow(MemoryLog(ENTRIES[:7], KEY))
    shutil.rmtree(tmp_path / "home/state")
    if memory is not None:  # as of before the copy
        found = MemoryLog(ENTRIES[:memory], KEY).checkpoint()
        log_memory.advance(KEY.public, found, prove=None, book=log_memory.MONITOR)
    before, entries = files(copy), [logs.make_leaf(number).to_bytes() for number in range(300)]
    entries[6 if shown > 6 else 1] = b"other"
    with pytest.raises(ForkedLogError) as caught:
        copy.follow(MemoryLog(entries[:shown], KEY))
    (evidence,) = (config.paths().state / "log-forks").iterdir()
    assert str(evidence) in caught.value.hint and files(copy) == before
    assert copy.follow(MemoryLog(ENTRIES, KEY)).size == 12, "the true one is followed"


@pytest.mark.parametrize("shown", [7, 8, 12, 300])
def test_what_is_not_under_the_checkpoint_is_not_kept_though_nobody_compared_histories(
    copy: LogCopy, monkeypatch: pytest.MonkeyPatch, shown: int
) -> None:
    copy.follow(MemoryLog(ENTRIES[:7], KEY))
    for name in ("compare", "compare_with"):
        monkeypatch.setattr(log_memory, name, lambda *_, **__: None)
    held, entries = copy.checkpoint(), [logs.make_leaf(number).to_bytes() for number in range(300)]
    with pytest.raises(MalformedLogError, match="are not those under its checkpoint"):
        copy.follow(MemoryLog([b"other", *entries[1:shown]], KEY))
    assert copy.checkpoint() == held


@pytest.mark.parametrize("shown", [3, 4])
def test_an_older_answer_is_no_fork(copy: LogCopy, shown: int) -> None:
    copy.follow(MemoryLog(ENTRIES[:8], KEY))
    with pytest.raises(RegistryError, match="an older state"):
        copy.follow(MemoryLog(ENTRIES[:shown], KEY))
    assert copy.follow(MemoryLog(ENTRIES, KEY)).size == 12


def files(copy: LogCopy) -> dict[str, bytes]:
    return {str(path.relative_to(copy.folder)): path.read_bytes() for path in copy.folder.rglob("*") if path.is_file()}


def test_a_long_log_is_followed_with_one_bundle_in_memory(copy: LogCopy) -> None:
    entries = [b"%05d" % number + b"x" * 10_000 for number in range(4_100)]
    copy.follow(MemoryLog(entries, KEY, size=100))
    upstream = MemoryLog(entries, KEY)
    tracemalloc.start()
    found = copy.follow(upstream)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert logs.audit(copy.folder, KEY.public) == (found, entries)
    assert 2 * peak < sum(map(len, entries))
    before = files(copy)
    assert copy.follow(upstream).size == 4_100 and files(copy) == before


class Counting(MemoryLog):
    """It counts the bundles that it is asked for."""

    asked: list[str]

    def read(self, name: str, *, limit: int) -> bytes | None:
        if name.startswith("tile/entries"):
            self.asked = [*getattr(self, "asked", []), name.removeprefix("tile/entries/")]
        return super().read(name, limit=limit)


@pytest.mark.parametrize("known", [0, 100, 256])
def test_entries_that_nobody_signed_are_not_kept_and_the_others_not_read_again(copy: LogCopy, known: int) -> None:
    entries = [b"%05d" % number for number in range(700)]
    if known:
        copy.follow(MemoryLog(entries, KEY, size=known))
    held = copy.checkpoint()
    bundle = tiles.join_entries([b"nobody's", *entries[513:700]])
    with pytest.raises(MalformedLogError, match="are not those under its checkpoint of 700"):
        copy.follow(MemoryLog(entries, KEY, changed={"tile/entries/002.p/188": bundle}))
    assert "tile/entries/002.p/188" not in files(copy) and copy.checkpoint() == held
    log = Counting(entries, KEY)
    copy.follow(log)
    assert log.asked == ["002.p/188"] and logs.audit(copy.folder, KEY.public)[1] == entries


@pytest.mark.parametrize("is_there", [True, False])
@pytest.mark.parametrize("damage", ["entries/002.p/88", "0/002.p/88", "0/000", "entries/001", "1/000.p/2"])
def test_a_damaged_copy_is_mended_by_the_next_round(copy: LogCopy, damage: str, is_there: bool) -> None:
    entries = [b"%05d" % number for number in range(700)]
    copy.follow(MemoryLog(entries, KEY, size=600))
    path = copy.folder / "tile" / damage
    data = path.read_bytes()
    path.unlink()
    if is_there:
        path.write_bytes(data[:-1] + b"?")
    for size in (650, 700):
        copy.follow(MemoryLog(entries, KEY, size=size))
    if damage in ("0/000", "entries/001"):  # nothing new needs it: it is found where everything is looked at again
        (copy.folder / "checkpoint").unlink()
        copy.follow(MemoryLog(entries, KEY))
    assert logs.audit(copy.folder, KEY.public)[1] == entries


def test_another_history_is_found_before_its_entries_are_read(copy: LogCopy) -> None:
    entries = [b"%05d" % number for number in range(700)]
    copy.follow(MemoryLog(entries, KEY, size=300))
    before, log = files(copy), Counting([b"other", *entries[1:]], KEY)
    with pytest.raises(ForkedLogError):
        copy.follow(log)
    assert not hasattr(log, "asked") and files(copy) == before


def test_a_log_that_was_begun_anew_is_followed(copy: LogCopy, tmp_path: Path) -> None:
    copy.follow(MemoryLog(ENTRIES, KEY))
    anew = logs.log_key(seed=9)
    other = LogCopy(copy.folder, anew.public)
    entries = [b"other", *ENTRIES[:5]]
    assert other.follow(MemoryLog(entries, anew)).size == 6
    assert logs.audit(copy.folder, anew.public)[1] == entries


def test_the_files_of_a_long_log_are_not_held_while_they_are_served(copy: LogCopy) -> None:
    entries = [b"%05d" % number + b"x" * 10_000 for number in range(8_200)]
    signed = copy.follow(MemoryLog(entries, KEY))
    tracemalloc.start()
    found = list(layout.of_log(signed.to_bytes(), signed.size, copy.read))
    for item in found:
        assert hashlib.sha256(item.read()).hexdigest() == item.digest
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 3 * peak < sum(item.size for item in found)
