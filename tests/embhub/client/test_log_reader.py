"""How much of a log is read: a bound in bytes, before and while entries come, and one bundle at a time."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from embhub.client import log_reader, watching
from embhub.errors import RegistryError
from embhub.log import checkpoints, tiles
from embhub.log.checkpoints import Checkpoint
from embhub.log.errors import MalformedLogError
from tests.support import logs, releases
from tests.support.logs import MemoryLog

KEY = logs.log_key()
MOST = 2**20 * log_reader.OVERHEAD


class Endless:
    """A log of the size that it signed, whose bundles all hold the same entries; it counts what is asked for."""

    def __init__(self, size: int, entry: bytes) -> None:
        self.size, self.bundle, self.asked = size, tiles.join_entries([entry] * tiles.WIDTH), 0

    def read(self, name: str, *, limit: int) -> bytes | None:
        if name == "checkpoint":
            return checkpoints.sign(Checkpoint(KEY.public.name, self.size, b"r" * 32), by=KEY).to_bytes()
        self.asked += 1
        assert len(self.bundle) <= limit
        return self.bundle


@pytest.mark.parametrize(("entry", "asked"), [(b"x" * tiles.LONGEST_ENTRY, 4), (b"x" * 500, 464), (b"", 3_972)])
def test_entries_are_read_up_to_a_number_of_bytes(entry: bytes, asked: int) -> None:
    source = Endless(2**20, entry)
    with pytest.raises(RegistryError, match="more entries to read than 67 MB hold"):
        list(log_reader.stream(source, 0, source.size, most=MOST))
    assert source.asked == asked


def test_a_monitor_does_not_begin_to_read_what_it_cannot_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path))
    trust = releases.make_trust(releases.make_keyring(log={"vkey": str(KEY.public)}))
    source = Endless(2**62, b"x" * tiles.LONGEST_ENTRY)
    with pytest.raises(RegistryError, match="more entries to read than 500 MB hold") as caught:
        watching.look(source, KEY.public, trust, now=releases.NOW)
    assert caught.value.exit_code == 5 and source.asked == 0


def test_a_monitor_holds_a_bounded_number_of_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path))
    monkeypatch.setattr(log_reader, "MOST_HELD", 50_000_000)
    trust = releases.make_trust(releases.make_keyring(log={"vkey": str(KEY.public)}))
    source = Endless(2**18, b"x" * tiles.LONGEST_ENTRY)
    tracemalloc.start()
    with pytest.raises(RegistryError, match="more entries to read than 50 MB hold"):
        watching.look(source, KEY.public, trust, now=releases.NOW)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert source.asked == 3 and peak < 50_000_000 + 3 * 2**24


def test_a_log_is_looked_through_and_compared_with_every_checkpoint_that_is_known() -> None:
    entries = [logs.make_leaf(number).to_bytes() for number in range(300)]
    log = MemoryLog(entries, KEY)
    earlier = [MemoryLog(entries, KEY, size=size).checkpoint() for size in (1, 255, 256, 257)]
    assert list(log_reader.whole(log, log.checkpoint(), known=earlier)) == entries
    for other in (1, 255, 256, 257):
        fork = MemoryLog([b"other", *entries], KEY, size=other).checkpoint()
        with pytest.raises(MalformedLogError, match=f"checkpoint of {other}"):
            list(log_reader.whole(log, log.checkpoint(), known=[fork]))


def test_a_proof_under_an_earlier_checkpoint_is_made_from_tiles() -> None:
    entries = [logs.make_leaf(number).to_bytes() for number in range(300)]
    for size in (5, 256, 299):
        earlier = MemoryLog(entries, KEY, size=size).checkpoint()
        proof = log_reader.prove_inclusion(MemoryLog(entries, KEY), 4, earlier)
        assert proof.open(entries[4], log=KEY.public).checkpoint == earlier.checkpoint
