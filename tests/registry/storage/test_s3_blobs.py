"""Objects in S3: what the folder promises holds there too, and what networks and other processes do loses nothing."""

from __future__ import annotations

import hashlib
import threading
import time
import traceback
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from typing import Literal

import pytest

from embhub.errors import ConfigError
from embhub_registry.storage import blobs as blob_module
from embhub_registry.storage import s3_blobs, s3_place, s3_probe, s3_store
from embhub_registry.storage.blobs import BlobStoreError, DamagedBlobError, MissingBlobError
from embhub_registry.storage.s3_blobs import MARKS, OBJECTS, S3Blobs
from tests.support.object_stores import KEY_ID, SECRET, Fault, FaultyProxy, RunningStore, faulty_proxy, open_place

OLD = timedelta(hours=2)


@pytest.fixture
def blobs(bucket: str) -> S3Blobs:
    return open_place(bucket)


@pytest.fixture
def proxy(bucket: str, object_store: RunningStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    """A proxy before the store; what a test opens after goes through it, and gives up soon."""
    with faulty_proxy(object_store.url) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        monkeypatch.setattr(s3_store, "REQUEST_SECONDS", 1)
        monkeypatch.setattr(s3_store, "RETRIES", 2)
        yield proxy


def test_what_is_put_is_got(blobs: S3Blobs, bucket: str) -> None:
    digest = blobs.put(b"hello")
    assert digest == hashlib.sha256(b"hello").hexdigest() == blobs.put(b"hello")
    assert open_place(bucket).get(digest) == b"hello"
    assert list(blobs.stored()) == [digest] and list(blobs.strays()) == []
    assert blobs.verify(digest, 5) is None and "the database says 6" in str(blobs.verify(digest, 6))
    blobs.delete(digest)
    with pytest.raises(MissingBlobError):
        blobs.get(digest)
    assert "cannot be read" in str(blobs.verify(digest, 5))


def test_other_bytes_are_never_given(blobs: S3Blobs, bucket: str) -> None:
    digest = blobs.put(b"hello")
    for damage in (b"jello", b"hel", b""):
        blobs.store.overwrite(OBJECTS + digest, damage)
        with pytest.raises(DamagedBlobError):
            open_place(bucket).get(digest)
        assert "other bytes" in str(blobs.verify(digest, 5))
    blobs.put(b"hello")
    assert open_place(bucket).get(digest) == b"hello", "whoever brings the bytes heals it"


def test_two_writers_of_the_same_bytes(bucket: str) -> None:
    stores = [open_place(bucket) for _ in range(4)]
    threads = [threading.Thread(target=store.put, args=(b"x" * 100_000,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(stores[0].stored())) == 1 and list(stores[0].strays()) == []


@pytest.mark.parametrize("fault", ["half", "short", "other"])
def test_a_transfer_that_is_not_whole_is_read_again_or_refused(proxy: FaultyProxy, bucket: str, fault: Fault) -> None:
    digest = open_place(bucket).put(b"hello" * 10_000)
    proxy.set(fault, times=1)
    assert open_place(bucket).get(digest) == b"hello" * 10_000, "once is no reason to give up"
    proxy.set(fault)
    fresh = open_place(bucket)
    with pytest.raises((BlobStoreError, DamagedBlobError)):
        fresh.get(digest)
    assert fresh.remembered(digest) is None and fresh.presigned(digest, lifetime=timedelta(minutes=1)) is None
    proxy.set("")
    assert fresh.get(digest) == b"hello" * 10_000


@pytest.mark.parametrize(
    ("fault", "words"), [("500", "500"), ("503", "SlowDown"), ("reset", ""), ("slow", "timed out")]
)
def test_a_store_that_fails_is_named_and_no_key_is(proxy: FaultyProxy, bucket: str, fault: Fault, words: str) -> None:
    blobs = open_place(bucket)
    digest = blobs.put(b"hello")
    proxy.set(fault)
    for call in (lambda: blobs.put(b"other"), lambda: blobs.read(digest), lambda: list(blobs.stored())):
        began = time.monotonic()
        with pytest.raises(BlobStoreError) as failed:
            call()
        said = "".join(traceback.format_exception(failed.value))
        assert time.monotonic() - began < 15 and SECRET not in said and KEY_ID not in said
    assert words in said
    proxy.set("")
    assert blobs.get(digest) == b"hello" and blobs.put(b"other")


def test_a_store_that_slows_down_is_asked_again(proxy: FaultyProxy, bucket: str) -> None:
    proxy.set("503", times=2)
    digest = open_place(bucket).put(b"hello")
    proxy.set("500", times=2)
    assert open_place(bucket).get(digest) == b"hello"


def test_a_store_that_is_not_there(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(BlobStoreError, match="cannot be reached"):
        open_place(bucket).get("0" * 64)
    with pytest.raises(ConfigError, match="cannot be reached"):
        s3_probe.probe(open_place(bucket))


def test_a_bucket_that_is_not_there_loses_nothing(bucket: str) -> None:
    blobs = open_place(f"{bucket}-none")
    for call in (lambda: blobs.put(b"x"), lambda: blobs.get("0" * 64), lambda: list(blobs.stored())):
        with pytest.raises(BlobStoreError, match="bucket"):
            call()


@pytest.mark.parametrize(("fault", "words"), [("ignore", "ignores conditional"), ("refuse", "refuses conditional")])
def test_a_store_without_conditional_writes_is_refused(
    proxy: FaultyProxy, bucket: str, fault: Literal["ignore", "refuse"], words: str
) -> None:
    s3_probe.probe(open_place(bucket))
    proxy.set(fault)
    with pytest.raises(ConfigError, match=words) as refused:
        s3_probe.probe(open_place(bucket))
    assert "If-None-Match" in refused.value.hint
    proxy.set("")
    assert list(open_place(bucket).strays()) == [], "a probe leaves nothing"


def test_a_place_has_one_owner(blobs: S3Blobs, bucket: str) -> None:
    s3_probe.claim(blobs.store, "one")
    assert s3_probe.read_owner(blobs.store, "one")[0] == ""
    with pytest.raises(ConfigError, match="in use by a registry"):
        s3_probe.claim(blobs.store, "two")
    with pytest.raises(ConfigError, match="another registry"):
        s3_probe.read_owner(blobs.store, "two")
    with pytest.raises(ConfigError, match="no registry"):
        s3_probe.read_owner(open_place(bucket, prefix="else").store, "one")


def test_a_claim_whose_answer_got_lost_is_a_claim(blobs: S3Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    real = s3_store.ObjectStore.create

    def lose(store: s3_store.ObjectStore, key: str, data: bytes) -> bool:
        real(store, key, data)
        return real(store, key, data)  # as the library does after a broken connection

    monkeypatch.setattr(s3_store.ObjectStore, "create", lose)
    s3_probe.claim(blobs.store, "one")
    with pytest.raises(ConfigError, match="in use by a registry"):
        s3_probe.claim(blobs.store, "two")


def test_keys_that_may_not_delete_are_refused(proxy: FaultyProxy, bucket: str) -> None:
    proxy.set("denied", methods=("DELETE", "POST"))
    with pytest.raises(ConfigError, match="remove an object: 403") as refused:
        s3_probe.probe(open_place(bucket))
    assert "DeleteObject" in refused.value.hint


@pytest.mark.parametrize("fault", ["", "refuse"])
def test_a_mark_is_renewed_once(proxy: FaultyProxy, bucket: str, fault: Literal["", "refuse"]) -> None:
    blobs = open_place(bucket)
    s3_probe.claim(blobs.store, "one")
    proxy.set(fault)  # without If-Match it is compared first
    _, tag = s3_probe.read_owner(blobs.store, "one")
    assert s3_probe.renew(blobs.store, "one", "first", tag=tag)
    assert not s3_probe.renew(blobs.store, "one", "second", tag=tag)
    assert s3_probe.renew(blobs.store, "one", "first", tag=tag), "an answer got lost"
    assert s3_probe.read_owner(blobs.store, "one")[0] == "first"


@pytest.mark.parametrize(
    "url",
    ["s3://", "s3://bucket", "s3://bucket/", f"s3://{KEY_ID}:{SECRET}@bucket/x", "s3://bucket/../x", "s3://bucket/a b",
     "s3://bucket/x?grace=-1", "s3://bucket/x?grace=nan", f"s3://bucket/x?key={SECRET}", "s3://Bucket/x", "gs://bucket/x",
     "s3://bucket/x#y", "s3://[/x"],
)  # fmt: skip
def test_an_address_that_is_none_is_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError) as refused:
        s3_place.parse(url)
    assert SECRET not in str(refused.value) and "s3://BUCKET/PREFIX" in refused.value.hint


def test_an_unencrypted_endpoint_has_to_be_allowed() -> None:
    far = {"AWS_ENDPOINT_URL": "http://minio.example.org:9000"}
    with pytest.raises(ConfigError, match="without encryption"):
        s3_place.endpoint(far)
    assert s3_place.endpoint({**far, "AWS_ALLOW_HTTP": "true"}) == far["AWS_ENDPOINT_URL"]
    for near in ("http://127.0.0.1:9000", "http://localhost:9000", "http://[::1]:9000", "https://minio.example.org"):
        assert s3_place.endpoint({"AWS_ENDPOINT_URL": near}) == near
    for wrong in ("minio.example.org:9000", "ftp://x", f"https://{KEY_ID}:{SECRET}@x"):
        with pytest.raises(ConfigError) as refused:
            s3_place.endpoint({"AWS_ENDPOINT_URL": wrong})
        assert SECRET not in str(refused.value)


def test_a_presigned_address_gives_the_bytes_and_lives_for_its_time(blobs: S3Blobs, bucket: str) -> None:
    digest = blobs.put(b"hello")
    assert blobs.presigned(digest, lifetime=timedelta(minutes=1)) is None, "nobody read what was stored"
    assert blobs.get(digest) == b"hello"
    address = blobs.presigned(digest, lifetime=timedelta(minutes=1))
    assert address is not None and "X-Amz-Expires=60" in address and SECRET not in address
    with urllib.request.urlopen(address, timeout=20) as answer:
        assert answer.read() == b"hello"
    assert open_place(bucket).presigned(digest, lifetime=timedelta(minutes=1)) is None, "not read whole yet"


def test_what_was_stored_is_read_once_before_an_address_leads_to_it(blobs: S3Blobs) -> None:
    minute = timedelta(minutes=1)
    digest = blobs.put(b"hello")
    blobs.store.overwrite(OBJECTS + digest, b"jello")
    assert blobs.presigned(digest, lifetime=minute) is None
    with pytest.raises(DamagedBlobError):
        blobs.get(digest)
    assert blobs.presigned(digest, lifetime=minute) is None
    blobs.put(b"hello")
    assert blobs.get(digest) == b"hello" and blobs.presigned(digest, lifetime=minute) is not None
    blobs.put(b"hello")
    assert blobs.presigned(digest, lifetime=minute) is None, "it was written anew"
    assert blobs.remembered(digest) is None, "else it would never be read again, and never sent for"


def test_what_is_young_is_not_removed(blobs: S3Blobs, bucket: str) -> None:
    digest = blobs.put(b"hello")
    with blobs.removing(digest) as removable:
        assert not removable
    before = open_place(bucket, grace=1)
    time.sleep(2.1)  # whole seconds are all that the store tells
    with before.removing(digest) as removable:
        assert removable
    first = blobs.store.head(OBJECTS + digest)
    blobs.put(b"hello")
    again = blobs.store.head(OBJECTS + digest)
    assert first and again and again.written > first.written, "its age begins anew"
    with open_place(bucket, grace=600).removing(digest) as removable:
        assert not removable
    assert list(blobs.strays()) == []


class Aged(S3Blobs):
    """A collector to whom everything that was not written in this test's second step is old."""

    def _is_old(self, digest: str, age: timedelta) -> bool:
        del digest
        return age >= timedelta(0)


def test_a_writer_waits_for_a_removal_and_stores_anew(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, collector = open_place(bucket), Aged(s3_place.parse(f"s3://{bucket}/hub"))
    digest, stored = writer.put(b"hello"), list[str]()
    again = threading.Thread(target=lambda: stored.append(open_place(bucket).put(b"hello")))
    with collector.removing(digest) as removable:
        assert removable
        again.start()
        time.sleep(0.5)
        assert stored == [], "it does not rely on what may go"
        collector.delete(digest)
    again.join(timeout=20)
    assert stored == [digest] and open_place(bucket).get(digest) == b"hello"


def test_a_removal_that_does_not_end_is_said_to_a_writer(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_blobs, "PATIENCE", 0.3)
    writer, collector = open_place(bucket), Aged(s3_place.parse(f"s3://{bucket}/hub"))
    digest = writer.put(b"hello")
    with pytest.raises(RuntimeError), collector.removing(digest):
        raise RuntimeError("killed")
    assert len(list(writer.store.list(MARKS))) == 1, "nobody knows how it ended"
    with pytest.raises(BlobStoreError, match="being removed"):
        writer.put(b"hello")
    monkeypatch.setattr(s3_blobs, "STALE", timedelta(seconds=-1))
    assert writer.put(b"hello") == digest, "a mark that was forgotten holds nobody up"
    writer.clear_marks()
    assert list(writer.strays()) == []


def test_a_removal_that_took_too_long_is_given_up(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    collector = Aged(s3_place.parse(f"s3://{bucket}/hub"))
    digest = collector.put(b"hello")
    with pytest.raises(BlobStoreError, match="too long"), collector.removing(digest):
        monkeypatch.setattr(s3_blobs, "STALE", timedelta(seconds=-1))
        collector.delete(digest)
    assert digest in collector.stored()


@pytest.mark.thorough
def test_writers_and_collectors_race_and_what_is_acknowledged_is_there(bucket: str) -> None:
    """Each object that a writer named is there at the end; collectors look at what is named before they remove."""
    named, guard, ended = set[str](), threading.Lock(), threading.Event()
    data = [b"object %d" % number for number in range(4)]
    removed = list[str]()

    def write() -> None:
        store = open_place(bucket)
        for turn in range(6):
            digest = store.put(data[turn % len(data)])
            with guard:
                named.add(digest)
            time.sleep(0.7)
            with guard:
                named.discard(digest)

    def collect() -> None:
        store = open_place(bucket, grace=1)
        while not ended.is_set():
            for text in data:
                digest = blob_module.sha256(text)
                with store.removing(digest) as removable:
                    with guard:
                        free = digest not in named
                    if removable and free:
                        store.delete(digest)
                        removed.append(digest)
                    with guard:
                        assert digest not in named or store.store.head(OBJECTS + digest) is not None
                store._young.clear()

    collectors = [threading.Thread(target=collect) for _ in range(2)]
    writers = [threading.Thread(target=write) for _ in range(3)]
    for thread in collectors + writers:
        thread.start()
    for thread in writers:
        thread.join(timeout=60)
    time.sleep(2.5)
    ended.set()
    for thread in collectors:
        thread.join(timeout=60)
    assert removed, "the collectors did remove"
    assert list(open_place(bucket).strays()) == []
