"""How much of a log is read: a bound in bytes, before and while entries come, and one bundle at a time."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from embhub.client.log import log_listing, log_reader
from embhub.client.monitor import watching
from embhub.errors import RegistryError
from embhub.log import checkpoints, leaves, merkle, tiles
from embhub.log.building import TreeBuilder
from embhub.log.checkpoints import Checkpoint
from embhub.log.errors import MalformedLogError
from embhub.site.signing import signed
from embhub.trust import dsse
from embhub.trust import logged as entries_of
from embhub.trust.keyring import Trust
from tests.support import logs, releases
from tests.support.logs import MemoryLog

KEY = logs.log_key()
TRUST = releases.make_trust(releases.make_keyring(log={"vkey": str(KEY.public)}))
MOST = 2**20 * log_reader.OVERHEAD


class Long:
    """A log of one entry again and again; its size is a power of two. It counts the bundles that it is asked for."""

    def __init__(self, size: int, entry: bytes) -> None:
        self.size, self.bundle, self.asked = size, tiles.join_entries([entry] * tiles.WIDTH), 0
        self.roots = [merkle.leaf_hash(entry)]
        while len(self.roots) < size.bit_length():
            self.roots.append(merkle.node_hash(self.roots[-1], self.roots[-1]))

    def read(self, name: str, *, limit: int) -> bytes | None:
        if name == "checkpoint":
            return checkpoints.sign(Checkpoint(KEY.public.name, self.size, self.roots[-1]), by=KEY).to_bytes()
        tile = tiles.parse_path(name)
        if tile.level is not None:
            return self.roots[8 * tile.level] * tile.width
        self.asked += 1
        assert len(self.bundle) <= limit
        return self.bundle


@pytest.mark.parametrize(("entry", "asked"), [(b"x" * tiles.LONGEST_ENTRY, 4), (b"x" * 500, 464), (b"", 3_972)])
def test_entries_are_read_up_to_a_number_of_bytes(entry: bytes, asked: int) -> None:
    source = Long(2**20, entry)
    with pytest.raises(RegistryError, match="more than 67 MB of entries"):
        list(log_reader.stream(source, 0, source.size, most=MOST))
    assert source.asked == asked


def test_a_monitor_does_not_begin_to_read_what_has_no_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path))
    source = Long(2**62, b"x" * tiles.LONGEST_ENTRY)
    with pytest.raises(RegistryError, match="more than 20,000 MB of entries") as caught:
        watching.look(source, KEY.public, TRUST, now=releases.NOW)
    assert caught.value.exit_code == 5 and source.asked == 0


def test_a_monitor_reads_up_to_a_number_of_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path))
    monkeypatch.setattr(log_reader, "MOST_WATCHED", 50_000_000)
    source = Long(2**18, b"x" * tiles.LONGEST_ENTRY)
    with pytest.raises(RegistryError, match="more than 50 MB of entries"):
        watching.look(source, KEY.public, TRUST, now=releases.NOW)
    assert source.asked == 3


def test_a_monitor_holds_one_bundle_of_a_long_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path))
    monkeypatch.setattr(log_listing, "MOST_LISTED", 100)
    source = Long(2**14, b"x" * 10_000)
    tracemalloc.start()
    assert watching.look(source, KEY.public, TRUST, now=releases.NOW).read == 2**14
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert source.asked == 64 and 64 * len(source.bundle) > 160_000_000 > 10 * peak


def test_a_bundle_that_was_not_signed_ends_the_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path))
    source = Long(2**14, b"x" * 10_000)
    source.bundle = tiles.join_entries([b"other"] * tiles.WIDTH)
    with pytest.raises(MalformedLogError, match="are not those under its checkpoint of 16,384"):
        watching.look(source, KEY.public, TRUST, now=releases.NOW)
    assert source.asked == 1


def signed_entry(number: int) -> bytes:
    """An entry that radboud's key really signed."""
    return entries_of.leaf_of(dsse.sign(b"%d" % number, key=releases.SITE), releases.SITE.public).to_bytes()


def test_a_monitor_of_a_long_log_lists_its_newest_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path))
    monkeypatch.setattr(log_listing, "MOST_LISTED", 100)
    entries, steps = [logs.make_leaf(number).to_bytes() for number in range(450)], list[tuple[int, int]]()
    entries += [signed_entry(number) for number in range(150)]

    def look(size: int, **options: Any) -> watching.Watched:
        return watching.look(MemoryLog(entries, KEY, size=size), KEY.public, TRUST, now=releases.NOW, **options)

    first = look(600, namespace="radboud", progress=lambda read, size: steps.append((read, size)))
    assert first.read == 600 and [entry.index for entry in first.entries] == list(range(500, 600))
    assert [entry.index for entry in first.unknown] == [*range(100), *range(450, 550)], "invented ones hide nothing"
    assert first.more_unknown == 50 and first.more_invented == 350
    assert steps == [(0, 600), (256, 600), (512, 600)]
    watching.accept(first.unknown)
    second = look(600, namespace="radboud", after=first)
    assert second.read == 600, "some were not listed"
    assert [entry.index for entry in second.unknown] == [*range(100, 200), *range(550, 600)]
    assert second.to_json()["more_unknown"] == 0 and second.to_json()["more_invented"] == 250


def test_a_monitor_of_a_namespace_reads_another_log_from_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path))
    entries, anew = [signed_entry(number) for number in range(300)], logs.log_key(seed=9)
    first = watching.look(MemoryLog(entries, KEY), KEY.public, TRUST, now=releases.NOW, namespace="radboud")
    others = [b"other", *(signed_entry(number) for number in range(400, 710))]
    for size in (40, 310):  # the registry began a new log, by its keyring
        log = MemoryLog(others, anew, size=size + 1)
        found = watching.look(log, anew.public, TRUST, now=releases.NOW, namespace="radboud", after=first)
        assert found.read == size + 1 and len(found.unknown) == size


def test_a_namespace_without_a_key_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path))
    members = [releases.member("radboud", [])]
    trust = releases.make_trust(releases.make_keyring(log={"vkey": str(KEY.public)}, members=members))
    found = watching.look(MemoryLog([b"x"], KEY), KEY.public, trust, now=releases.NOW, namespace="radboud")
    assert found.keyring == ("radboud: the keyring holds no key of it, so no entry is compared",)


@pytest.mark.parametrize("known", [0, 1, 255, 256, 257, 700])
@pytest.mark.parametrize("size", [700, 768, 1_000])
def test_bundles_are_checked_from_any_size_on(known: int, size: int) -> None:
    entries = [b"%d" % number for number in range(size)]
    log, tree = MemoryLog(entries, KEY), TreeBuilder()
    tree.add(map(merkle.leaf_hash, entries[:known]))
    for kept in (None, MemoryLog(entries[:300], KEY), MemoryLog([b"other", *entries[1:]], KEY)):
        found = list(log_reader.checked_bundles(log, tree, log.checkpoint(), kept=kept))
        assert [entry for _, bundle in found for entry in bundle] == entries[known // 256 * 256 :]
    needed = [tile for tile in (tiles.needed(None, number, size) for number in range(known // 256, 4)) if tile]
    for tile in [*needed, tiles.needed(0, size // 256, size), tiles.needed(1, 0, size)]:
        if tile is None:
            continue
        data = log.read(tile.path, limit=2**24)
        assert data is not None
        log.changed = {tile.path: data[:-1] + bytes([data[-1] ^ 1])}
        if tile.level == 1 and known // 256 == size // 256:
            continue  # no whole bundle is new
        with pytest.raises(MalformedLogError, match="not those under its checkpoint"):
            list(log_reader.checked_bundles(log, tree, log.checkpoint()))


def test_a_monitor_of_a_namespace_does_not_read_again_what_it_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path))
    entries = [logs.make_leaf(number).to_bytes() for number in range(600)]

    def look(size: int, trust: Trust = TRUST, **options: Any) -> watching.Watched:
        source = MemoryLog(entries, KEY, size=size)
        return watching.look(source, KEY.public, trust, now=releases.NOW, namespace="radboud", **options)

    signed.note(leaves.parse(entry).identity for entry in entries[2:300])
    first = look(300)
    assert first.read == 300 and [entry.index for entry in first.unknown] == [0, 1]
    watching.accept(first.unknown[:1])
    second = look(302, after=first)
    assert second.read == 2 and [entry.index for entry in second.unknown] == [1, 300, 301]
    assert look(302).read == 302, "another process"
    keys = [(releases.SITE, "publish"), (releases.STRANGER, "publish")]
    other = releases.make_keyring(log={"vkey": str(KEY.public)}, members=[releases.member("radboud", keys)])
    assert look(303, releases.make_trust(other), after=second).read == 303, "older entries may name its new key"
    fork = replace(second, checkpoint=MemoryLog([b"other", *entries[1:302]], KEY).checkpoint())
    with pytest.raises(MalformedLogError, match="not those under its checkpoint of 303"):
        look(303, after=fork)


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
