"""Objects are whole or absent, found by their digest, and held in bounded memory."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embhub_registry.database import StorageFullError
from embhub_registry.storage.stores import folder_blobs
from embhub_registry.storage.stores.blobs import DamagedBlobError, MissingBlobError, git_oid
from embhub_registry.storage.stores.folder_blobs import FolderBlobs as Blobs
from tests.support.quick import examples


def test_what_is_put_is_got(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    digest = blobs.put(b"hello")
    assert digest == hashlib.sha256(b"hello").hexdigest()
    assert blobs.put(b"hello") == digest
    assert Blobs(tmp_path).get(digest) == b"hello"
    assert list(blobs.stored()) == [digest] and list(blobs.strays()) == []
    assert blobs.verify(digest, 5) is None
    blobs.delete(digest)
    with pytest.raises(MissingBlobError):
        blobs.get(digest)


def test_damage_is_named(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    digest = blobs.put(b"hello")
    assert "3 bytes" not in str(blobs.verify(digest, 5)) and "the database says 6" in str(blobs.verify(digest, 6))
    blobs.path(digest).write_bytes(b"jello")
    assert "other bytes" in str(blobs.verify(digest, 5))
    blobs.path(digest).unlink()
    assert "cannot be read" in str(blobs.verify(digest, 5))


def test_a_truncated_object_is_written_anew(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    digest = blobs.put(b"hello")
    blobs.path(digest).write_bytes(b"hel")
    blobs.put(b"hello")
    assert Blobs(tmp_path).get(digest) == b"hello"


def test_memory_is_bounded(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path, cache_bytes=1000)
    digests = [blobs.put(bytes([n]) * 300) for n in range(10)]
    assert all(len(blobs.get(digest)) == 300 for digest in digests)
    assert blobs._held <= 1000


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_disk_that_refuses_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    blobs = Blobs(tmp_path)

    def failing(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(StorageFullError):
        blobs.put(b"hello")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_two_writers_of_the_same_bytes(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    threads = [threading.Thread(target=blobs.put, args=(b"x" * 100_000,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(blobs.stored())) == 1 and list(blobs.strays()) == []


@settings(max_examples=examples(50), deadline=None)
@given(st.binary(max_size=100))
def test_git_ids_are_gits(data: bytes) -> None:
    assert git_oid(data) == hashlib.sha1(b"blob " + str(len(data)).encode() + b"\0" + data).hexdigest()


def test_a_known_git_id() -> None:
    assert git_oid(b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"


@pytest.mark.parametrize("damage", [b"jello", b"hel", b"", b"hello!"])
def test_other_bytes_are_never_given(tmp_path: Path, damage: bytes) -> None:
    digest = Blobs(tmp_path).put(b"hello")
    Blobs(tmp_path).path(digest).write_bytes(damage)
    fresh = Blobs(tmp_path)
    for read in (fresh.get, fresh.read, fresh.at_once):
        with pytest.raises(DamagedBlobError, match=digest):
            read(digest)
    assert fresh.remembered(digest) is None
    fresh.put(b"hello")
    assert fresh.get(digest) == b"hello" == Blobs(tmp_path).get(digest), "whoever brings the bytes heals it"


@pytest.mark.parametrize("exchange", [False, True], ids=["in place", "by renaming"])
def test_a_file_that_changed_after_it_was_checked_is_checked_again(tmp_path: Path, exchange: bool) -> None:
    blobs = Blobs(tmp_path, cache_bytes=0)
    digest = blobs.put(b"hello")
    path = blobs.path(digest)
    before = path.stat()
    assert blobs.get(digest) == b"hello"
    beside = tmp_path / "beside" if exchange else path
    beside.write_bytes(b"jello")
    os.utime(beside, ns=(before.st_atime_ns, before.st_mtime_ns))
    beside.replace(path)
    with pytest.raises(DamagedBlobError):
        blobs.get(digest)


def test_a_settled_file_is_hashed_once_and_a_young_one_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed = list[bytes]()

    def sha256(data: bytes) -> str:
        hashed.append(data)
        return hashlib.sha256(data).hexdigest()

    digest = Blobs(tmp_path).put(b"hello")
    monkeypatch.setattr(folder_blobs, "sha256", sha256)
    young, settled = Blobs(tmp_path, cache_bytes=0), Blobs(tmp_path, cache_bytes=0)
    assert young.get(digest) == young.get(digest) == b"hello" and len(hashed) == 2
    monkeypatch.setattr(folder_blobs, "SETTLED", -1.0)
    assert settled.get(digest) == settled.get(digest) == b"hello" and len(hashed) == 3
    settled.delete(digest)
    settled.path(digest).write_bytes(b"jello")
    with pytest.raises(DamagedBlobError):
        settled.get(digest)


def test_a_long_file_is_no_work_for_the_event_loop_until_it_was_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_blobs, "SETTLED", -1.0)
    blobs = Blobs(tmp_path, cache_bytes=0)
    long, short = b"x" * (folder_blobs.LONG + 1), b"x" * folder_blobs.LONG
    digest = blobs.put(long)
    assert blobs.at_once(digest) is None and blobs.at_once(blobs.put(short)) == short
    assert blobs.get(digest) == long == blobs.at_once(digest)
    blobs.path(digest).write_bytes(long)
    assert blobs.at_once(digest) is None, "it is another file, perhaps with other bytes"
    with pytest.raises(MissingBlobError):
        blobs.at_once("0" * 64)
