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
from embhub_registry.storage.blobs import MissingBlobError, git_oid
from embhub_registry.storage.folder_blobs import FolderBlobs as Blobs
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
