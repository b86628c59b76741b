"""The registry's log: durable before it is acknowledged, never forked, made again where its files are lost."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from embhub.errors import ConfigError, UsageError
from embhub.log import checkpoints, merkle, notes, proofs, tiles
from embhub.log.building import TreeBuilder
from embhub.log.notes import VerifierKey
from embhub_registry.database.logs import log_rows
from embhub_registry.operation.background import log_keeping
from embhub_registry.operation.opening import open_folder
from embhub_registry.storage import folder, log_entries
from embhub_registry.storage.folder import Registry
from embhub_registry.storage.log import log_publishing, log_witnesses, registry_log
from embhub_registry.storage.log.log_files import LogFiles
from tests.support import logs, postgres


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    made = folder.create(
        tmp_path / "hub", name="Test", url="https://hub.example.org", audit="optional", online_keys=tmp_path / "online"
    )
    yield made
    made.close()


def key_of(registry: Registry) -> VerifierKey:
    key = registry.trust().keyring.log_key
    assert key is not None
    return key


def add(registry: Registry, *numbers: int) -> list[int]:
    with registry.database.writing() as db:
        return [log_entries.add(db, logs.make_leaf(number)) for number in numbers]


def test_a_new_registry_logs_its_keyring(registry: Registry) -> None:
    assert key_of(registry).name == "hub.example.org"
    assert (registry.private_keys.online / "log.pem").stat().st_mode & 0o077 == 0
    assert not list((registry.folder / "keys").glob("log*"))
    assert registry_log.publish(registry) and not registry_log.publish(registry)
    signed, entries = logs.audit(registry.folder / "log", key_of(registry))
    assert signed.size == len(entries) == 1


def test_the_log_grows_by_what_is_added_and_keeps_its_beginning(registry: Registry) -> None:
    sizes, before = [1, 255, 256, 257, 600], (0, merkle.EMPTY)
    for size in sizes:
        add(registry, *range(log_rows.size(registry.database.connection()) - 1, size - 1))
        registry_log.publish(registry)
        signed, entries = logs.audit(registry.folder / "log", key_of(registry))
        assert signed.size == size
        assert merkle.root_of(map(merkle.leaf_hash, entries[: before[0]])) == before[1]
        before = (signed.size, signed.root)
    assert not list(registry_log.files_of(registry).strangers(600))
    assert not (registry.folder / "log/tile/entries/000.p").exists(), "parts of a tile that is whole are removed"


def test_an_entry_keeps_its_index(registry: Registry) -> None:
    assert add(registry, 1, 2, 1) == [1, 2, 1] and add(registry, 2, 3) == [2, 3]


def test_entries_are_not_changed_and_not_removed(registry: Registry) -> None:
    for change in ("DELETE FROM log_entry", "UPDATE log_entry SET leaf = hash"):
        with pytest.raises(Exception, match="append-only"):
            registry.database.connection().execute(change)


def test_every_entry_has_a_proof(registry: Registry) -> None:
    add(registry, *range(300))
    assert registry_log.prove(registry, merkle.leaf_hash(logs.make_leaf(7).to_bytes())) is None, "not signed yet"
    registry_log.publish(registry)
    for number in (0, 7, 255, 256, 299):
        leaf = logs.make_leaf(number).to_bytes()
        proof = registry_log.prove(registry, merkle.leaf_hash(leaf))
        assert proof is not None and proof.index == number + 1
        assert proofs.parse(proof.to_bytes()).open(leaf, log=key_of(registry)).size == 301
    assert registry_log.prove(registry, b"x" * 32) is None


def test_a_server_that_skipped_sizes_has_their_parts_too(registry: Registry) -> None:
    """It follows another, which signed each size: somebody may have seen a checkpoint of any."""
    each, once = registry_log.files_of(registry), LogFiles(registry.folder / "follower")
    for number in range(1, 8):
        add(registry, number)
        registry_log.publish(registry)
    size = log_rows.size(registry.database.connection())
    once.grow(registry.database.connection(), TreeBuilder(), size)
    parts = [tiles.Tile(level, 0, width) for level in (None, 0) for width in range(1, size + 1)]
    assert [once.read(part) for part in parts] == [each.read(part) for part in parts]
    with pytest.raises(FileNotFoundError):
        once.read(tiles.Tile(0, 0, size + 1))


def test_a_server_that_did_not_notice_the_end_of_its_term_has_the_tiles_of_what_another_signed(
    registry: Registry, tmp_path: Path
) -> None:
    """It was suspended, say. It finds nothing to sign, and serves a checkpoint that it has no tiles of."""
    signing, suspended = registry_log.files_of(registry), LogFiles(tmp_path)
    key, second = registry_log.key_of(registry), registry_log.second_key_of(registry)
    assert key is not None
    for number in range(3):
        add(registry, number)
        registry_log.publish(registry)
        assert not log_publishing.publish(
            registry.database, suspended, key=key, second=second, state=tmp_path / "state.json"
        )
    assert suspended.checkpoint() == signing.checkpoint()
    for part in (tiles.Tile(None, 0, 4), tiles.Tile(0, 0, 4)):
        assert suspended.read(part) == signing.read(part)


def test_each_damaged_tile_is_found(registry: Registry) -> None:
    add(registry, *range(300))
    registry_log.publish(registry)
    assert registry_log.problems(registry) == []
    folder = registry_log.files_of(registry).folder
    for name in ("entries/000", "entries/001.p/45", "0/000", "0/001.p/45", "1/000.p/1"):
        path = folder / "tile" / name
        data = path.read_bytes()
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        assert registry_log.problems(registry) == [
            f"log: tile/{name} is missing or damaged; `log repair` writes it again"
        ]
        path.write_bytes(data)


def test_entries_that_are_not_those_signed_are_found(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    add(registry, *range(300))
    registry_log.publish(registry)
    signed = log_rows.newest(registry.database.connection())
    assert signed is not None
    for other in (replace(signed, root=bytes(32)), replace(signed, size=signed.size + 1)):
        monkeypatch.setattr(log_rows, "newest", lambda _db, other=other: other)
        assert registry_log.problems(registry) == ["log: the database holds other entries than were signed"]


def damage_entry(registry: Registry, place: int) -> None:
    """As a disk does: no statement of the program can."""
    with registry.database.writing() as db:
        db.execute(f"DROP TRIGGER {'log_entry_stays ON log_entry' if postgres.CHOSEN else 'log_entry_is_final'}")
        db.execute("UPDATE log_entry SET leaf = ? WHERE place = ?", (b"damaged", place))


@pytest.mark.parametrize("place", [0, 100, 299])
def test_an_entry_that_is_damaged_in_the_database_is_taken_from_its_bundle(registry: Registry, place: int) -> None:
    add(registry, *range(299))
    registry_log.publish(registry)
    damage_entry(registry, place)
    said = f"log: entry {place} is damaged in the database: restore a backup of it"
    assert registry_log.problems(registry) == [said]
    shutil.rmtree(registry.folder / "log/tile/0")
    registry_log.repair(registry)
    assert registry_log.problems(registry) == [said]
    add(registry, 299)
    registry_log.publish(registry)
    assert logs.audit(registry.folder / "log", key_of(registry))[0].size == 301, "and the log goes on"


def test_an_entry_that_is_damaged_in_both_places_is_not_written(registry: Registry) -> None:
    add(registry, *range(299))
    registry_log.publish(registry)
    damage_entry(registry, 7)
    bundle = registry.folder / "log/tile/entries/000"
    bundle.write_bytes(b"damaged, too")
    with pytest.raises(ConfigError, match="entry 7 is damaged in the database, and in its bundle"):
        registry_log.repair(registry)
    assert bundle.read_bytes() == b"damaged, too"
    assert len(registry_log.problems(registry)) == 2


def test_a_new_entry_that_is_damaged_is_not_signed(registry: Registry) -> None:
    add(registry, *range(5))
    registry_log.publish(registry)
    add(registry, 5)
    damage_entry(registry, 6)
    with pytest.raises(ConfigError, match="entry 6 is damaged"):
        registry_log.publish(registry)
    assert logs.audit(registry.folder / "log", key_of(registry))[0].size == 6


@pytest.mark.parametrize("lost", ["log", "log/tile/0", "log/tile/entries", "log/checkpoint"])
def test_lost_files_are_made_again(registry: Registry, lost: str) -> None:
    add(registry, *range(300))
    registry_log.publish(registry)
    signed, _ = logs.audit(registry.folder / "log", key_of(registry))
    path = registry.folder / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    if lost not in ("log/checkpoint", "log"):
        add(registry, 300)
    registry_log.publish(registry)
    if lost in ("log/tile/entries", "log/tile/0", "log"):
        registry_log.repair(registry)
    again, _ = logs.audit(registry.folder / "log", key_of(registry))
    assert again.size >= signed.size


def test_a_new_key_signs_the_same_tree_and_proofs_lead_to_it(registry: Registry) -> None:
    add(registry, *range(5))
    registry_log.publish(registry)
    before, leaf = key_of(registry), logs.make_leaf(2).to_bytes()
    witness = logs.witness_key()
    log_keeping.add_witness(registry, str(witness.public), "")
    signed, _ = logs.audit(registry.folder / "log", before)
    line = checkpoints.cosign(signed.checkpoint, by=witness, time=1)
    assert log_witnesses.take(registry, signed.note.with_signatures([line])) == 1
    made = log_keeping.begin(registry, anew=True)
    assert made["vkey"] == str(key_of(registry)) != str(before) and not made["pending"]
    assert (registry.private_keys.online / "log.pem.retired-1").exists()
    logs.audit(registry.folder / "log", key_of(registry))
    proof = registry_log.prove(registry, merkle.leaf_hash(leaf))
    assert proof is not None and proof.open(leaf, log=key_of(registry)).size == 7, "and the new keyring is an entry"


def test_an_older_cosignature_never_replaces_a_newer_one(registry: Registry) -> None:
    """Cosignatures are public, so anybody can send an old one again and make the log look stale."""
    add(registry, 1)
    registry_log.publish(registry)
    witness = logs.witness_key()
    log_keeping.add_witness(registry, str(witness.public), "")
    signed, _ = logs.audit(registry.folder / "log", key_of(registry))
    old, new = (checkpoints.cosign(signed.checkpoint, by=witness, time=at) for at in (1_000, 2_000))
    for lines in ([old], [new], [old], [new, old], [old, old]):
        log_witnesses.take(registry, signed.note.with_signatures(lines))
    newest = registry_log.newest_checkpoint(registry)
    assert newest is not None
    note = notes.parse(newest)
    assert [found.time for found in checkpoints.check_cosignatures(note, [witness.public])] == [2_000]
    assert len(note.by(witness.public)) == 1, "and no second line stays"


def test_a_cosignature_that_is_sent_again_does_not_change_when_a_witness_is_asked(registry: Registry) -> None:
    """Else anybody could keep the registry from asking its witnesses until the log is stale."""
    add(registry, 1)
    registry_log.publish(registry)
    witness = logs.witness_key()
    log_keeping.add_witness(registry, str(witness.public), "https://witness.example.org")
    first, _ = logs.audit(registry.folder / "log", key_of(registry))
    line = checkpoints.cosign(first.checkpoint, by=witness, time=1_000)
    assert log_witnesses.take(registry, first.note.with_signatures([line])) == 1
    add(registry, 2)
    registry_log.publish(registry)
    second, _ = logs.audit(registry.folder / "log", key_of(registry))
    newer = checkpoints.cosign(second.checkpoint, by=witness, time=2_000)
    assert log_witnesses.take(registry, second.note.with_signatures([newer])) == 1
    for note, again in ((first.note, line), (second.note, newer)):
        log_witnesses.take(registry, note.with_signatures([again]))
    (row,) = log_rows.witnesses(registry.database.connection())
    assert (row.asked, row.seen) == (None, second.size)


def test_a_new_log_signs_by_both_keys_and_an_older_one_gets_its_second(registry: Registry) -> None:
    registry_log.publish(registry)
    both = log_rows.newest(registry.database.connection())
    second = registry.trust().keyring.log_mldsa_key
    assert both is not None and second is not None
    assert checkpoints.is_signed_by_mldsa(checkpoints.open_signed(both.note, log=key_of(registry)), second)
    assert (registry.private_keys.online / "log-mldsa.pem").stat().st_mode & 0o077 == 0
    (registry.private_keys.online / "log-mldsa.pem").unlink()
    add(registry, 1)
    registry_log.publish(registry)
    alone, _ = logs.audit(registry.folder / "log", key_of(registry))
    assert checkpoints.is_signed_by_mldsa(alone, second) is False, "the first key signs on"
    made = log_keeping.begin(registry, anew=False)
    after = registry.trust().keyring
    assert made["vkey"] == str(key_of(registry)) and made["mldsa"] == str(after.log_mldsa_key) != str(second)
    again, _ = logs.audit(registry.folder / "log", key_of(registry))
    assert after.log_mldsa_key is not None and checkpoints.is_signed_by_mldsa(again, after.log_mldsa_key)
    proof = registry_log.prove(registry, merkle.leaf_hash(logs.make_leaf(1).to_bytes()))
    assert proof is not None and len(proof.note.signatures) == 2
    with pytest.raises(UsageError, match="keeps a log already"):
        log_keeping.begin(registry, anew=False)


@pytest.mark.skipif(postgres.CHOSEN, reason="an older file is put in place")
def test_an_older_database_is_not_signed(registry: Registry, tmp_path: Path) -> None:
    add(registry, *range(5))
    registry_log.publish(registry)
    registry.database.copy_to(tmp_path / "older.db")
    add(registry, *range(5, 9))
    registry_log.publish(registry)
    registry.close()
    for end in ("", "-wal", "-shm"):
        (registry.folder / f"registry.db{end}").unlink(missing_ok=True)
    shutil.copy(tmp_path / "older.db", registry.folder / "registry.db")
    older = open_folder(registry.folder)
    try:
        add(older, 100)
        with pytest.raises(ConfigError, match="its key signed 10 entries, and 7 are here"):
            registry_log.publish(older)
        add(older, *range(101, 110))
        with pytest.raises(ConfigError, match="not those that its key signed"):
            registry_log.publish(older)
        signed, _ = logs.audit(registry.folder / "log", key_of(older))
        assert signed.size == 10, "what was signed before is served on"
    finally:
        older.close()


def append_for_ever(place: Path, number: int, out: int) -> None:
    """In a process of its own: add three entries, say which indices they got, sign; and again."""
    registry = open_folder(place)
    while True:
        indices = add(registry, number, number + 1, number + 2)
        os.write(out, "".join(f"{number + step} {index}\n" for step, index in enumerate(indices)).encode())
        number += 3
        registry_log.publish(registry)


@pytest.mark.thorough
def test_kill_9_loses_nothing_acknowledged_and_forks_nothing(registry: Registry) -> None:
    registry_log.publish(registry)
    key, choose, acknowledged, before = key_of(registry), random.Random(9), dict[int, int](), (0, merkle.EMPTY)
    for turn in range(5):
        registry.close()
        reading, writing = os.pipe()
        if (child := os.fork()) == 0:
            try:
                append_for_ever(registry.folder, turn * 100_000, writing)
            finally:
                os._exit(1)
        os.close(writing)
        with os.fdopen(reading) as stream:
            lines = [stream.readline()]
            time.sleep(choose.uniform(0.0, 0.15))
            os.kill(child, signal.SIGKILL)
            lines += stream.read().splitlines()
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        acknowledged |= {int(a): int(b) for a, _, b in (line.strip().partition(" ") for line in lines) if b}
        registry_log.publish(registry)
        signed, entries = logs.audit(registry.folder / "log", key)
        assert merkle.root_of(map(merkle.leaf_hash, entries[: before[0]])) == before[1]
        assert all(entries[place] == logs.make_leaf(number).to_bytes() for number, place in acknowledged.items())
        before = (signed.size, signed.root)
    assert len(acknowledged) >= 15
