"""Removing objects from S3 beside other processes: not before they are old, and never what a commit names."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from embhub.errors import ConfigError
from embhub_registry.admission import publication
from embhub_registry.database import accounts, repositories, tombstones
from embhub_registry.database.clock import now, stamp
from embhub_registry.operation import administration, checking, repair
from embhub_registry.operation.opening import open_folder
from embhub_registry.repositories import deletion, repos, retention, stolen_keys, sweeping
from embhub_registry.repositories.commits import CommitRequest
from embhub_registry.storage import blob_places, folder, s3_blobs, s3_probe, s3_store
from embhub_registry.storage.blobs import BlobStoreError, sha256
from embhub_registry.storage.folder import Registry
from embhub_registry.storage.s3_blobs import MARKS, PROBES, S3Blobs
from tests.support import postgres
from tests.support.object_stores import RunningStore, faulty_proxy, open_place
from tests.support.servers import run_here

ALICE = accounts.Account(1, "alice", "radboud", "publisher", "", b"", None, None)


@pytest.fixture
def draft(tmp_path: Path, bucket: str) -> Iterator[Registry]:
    """A registry in S3 that nobody serves, with a repository of one file."""
    made = folder.create(
        tmp_path / "hub", name="T", url="http://127.0.0.1:1", audit="optional", blobs=f"s3://{bucket}/hub"
    )
    administration.add_user(made, "alice", namespace="radboud", role="publisher")
    repos.create(made, ALICE, None, "draft", private=False)
    publish(made, b"# First\n")
    yield made
    made.close()


def publish(registry: Registry, text: bytes, name: str = "draft") -> str:
    request = CommitRequest("t", "", None, {"README.md": text}, frozenset(), frozenset())
    publication.publish(registry, ALICE, "radboud", name, branch="main", request=request)
    return sha256(text)


def test_bytes_of_a_deleted_repository_go_once_they_are_old(draft: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = sha256(b"# First\n")
    deletion.delete(draft, ALICE, "radboud", "draft")
    assert digest in draft.blobs.stored() and deletion.purge(draft) == 0, "another process may be about to name them"
    report = checking.check(draft)
    assert report.clean and repair.repair(draft, report) == [], "it waits for its removal"
    grow_old(draft, monkeypatch)
    assert deletion.purge(draft) == 1 and digest not in draft.blobs.stored()
    report = checking.check(draft)
    assert report.clean and report.purged == 1


def test_a_deletion_asks_the_store_nothing_whatever_others_deleted(draft: Registry) -> None:
    """Nor does a turn of the server, while all of it is young."""
    for number in range(3):
        name = f"other-{number}"
        repos.create(draft, ALICE, None, name, private=False)
        publish(draft, b"# Other %d\n" % number, name)
        deletion.delete(draft, ALICE, "radboud", name)
    repos.create(draft, ALICE, None, "empty", private=False)
    assert isinstance(draft.blobs, S3Blobs)
    draft.blobs._young.clear()  # as in another server
    with asked(draft.blobs.store) as calls:
        deletion.delete(draft, ALICE, "radboud", "empty")
        assert calls == [], "a repository without files"
        deletion.delete(draft, ALICE, "radboud", "draft")
        assert calls == [], "one with files: they go with the server's next turn"
        assert deletion.purge(draft) == 0 and calls == [], "the database knows how old they are"


def test_a_turn_removes_so_many_and_the_next_one_the_rest(draft: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        publish(draft, b"# Draft %d\n" % number)
    deletion.delete(draft, ALICE, "radboud", "draft")
    grow_old(draft, monkeypatch)
    assert [deletion.purge(draft, at_most=3), deletion.purge(draft, at_most=3)] == [3, 1]
    assert list(draft.blobs.stored()) == []


def test_what_has_to_stay_keeps_nothing_else_from_its_turn(draft: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        publish(draft, b"# Draft %d\n" % number)
    deletion.delete(draft, ALICE, "radboud", "draft")
    grow_old(draft, monkeypatch)
    stuck, removing = min(draft.blobs.stored()), draft.blobs.removing

    def too_young(digest: str) -> contextlib.AbstractContextManager[bool]:
        return contextlib.nullcontext(False) if digest == stuck else removing(digest)

    monkeypatch.setattr(draft.blobs, "removing", too_young)
    for _ in range(200):
        deletion.purge(draft, at_most=1)
    assert list(draft.blobs.stored()) == [stuck]


def test_an_operator_removes_what_he_deleted_and_nothing_else(draft: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    repos.create(draft, ALICE, None, "other", private=False)
    other = publish(draft, b"# Other\n", "other")
    deletion.delete(draft, ALICE, "radboud", "other")
    monkeypatch.setattr(draft.blobs, "grace", timedelta(0))
    grow_old(draft, monkeypatch)
    assert deletion.delete_as_operator(draft, "radboud/draft", reason="no use")["purged"] == 1
    assert list(draft.blobs.stored()) == [other]


def test_bytes_that_came_again_are_spared(draft: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    deletion.delete(draft, ALICE, "radboud", "draft")
    repos.create(draft, ALICE, None, "draft", private=False)
    digest = publish(draft, b"# First\n")
    grow_old(draft, monkeypatch)
    assert deletion.purge(draft) == 0 and sweeping.sweep(draft) == {}
    assert digest in draft.blobs.stored() and checking.check(draft).clean


def test_what_is_no_object_is_named_and_repaired(draft: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = draft.blobs
    assert isinstance(blobs, S3Blobs)
    before, left = set(blobs.stored()), blobs.put(b"left over")
    for key in ("blobs/notes.txt", f"{PROBES}half", f"{MARKS}{left}/mark"):
        blobs.store.overwrite(key, b"x")
    report = checking.check(draft)
    assert not report.corrupt and len(report.orphaned) == 4 and repair.repair(draft, report) != []
    assert set(blobs.stored()) == before | {left} and list(blobs.strays()) == [], "what is young stays"
    grow_old(draft, monkeypatch)
    assert repair.repair(draft, checking.check(draft)) == [f"blob {left}: the database does not know it"]
    assert set(blobs.stored()) == before and checking.check(draft).clean


def test_prune_says_what_goes_and_what_went(draft: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a deleted repository, and of a push that crashed: objects and bytes, in words, and in JSON."""
    deletion.delete(draft, ALICE, "radboud", "draft")
    draft.blobs.put(b"left by a push that crashed")
    assert "0 objects that nothing names (0 bytes)" in said(draft), "it is young: somebody may be about to name it"
    grow_old(draft, monkeypatch)
    monkeypatch.setattr(S3Blobs, "present", lambda self: datetime.now(UTC) + timedelta(days=1))
    counted = "1 objects of deleted repositories (8 bytes), 1 objects that nothing names (27 bytes)"
    assert f"would remove: 0 months of the audit log, {counted}, 0 expired" in said(draft)
    assert len(set(draft.blobs.stored())) == 2
    assert f"removed: 0 months of the audit log, {counted}, 0 expired" in said(draft, "--apply")
    assert list(draft.blobs.stored()) == []
    assert f"removed: 0 months of the audit log, {counted}" not in said(draft, "--apply")


def test_prune_says_what_it_leaves_to_the_server(draft: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    deletion.delete(draft, ALICE, "radboud", "draft")
    grow_old(draft, monkeypatch)
    assert "left to the server" not in said(draft)
    with draft.alone("serve"):
        result = retention.prune(open_folder(draft.folder), really=True)
    assert (result["objects"], result["bytes"], result["waiting"]) == (0, 0, 1)
    assert "removed: 0 months" in said(draft, "--apply") and list(draft.blobs.stored()) == []


def test_a_removal_that_failed_is_tried_again(draft: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    deletion.delete(draft, ALICE, "radboud", "draft")
    grow_old(draft, monkeypatch)
    with monkeypatch.context() as failing:
        failing.setattr(s3_store.ObjectStore, "delete", fail)
        with pytest.raises(BlobStoreError):
            deletion.purge(draft)
    assert sha256(b"# First\n") in draft.blobs.stored()
    assert deletion.purge(draft) == 1 and list(draft.blobs.stored()) == []


def test_a_commit_that_took_too_long_stores_its_objects_again(draft: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    late, stored = iter([True, True, False]), list[bytes]()
    real = S3Blobs.put

    def put(self: S3Blobs, data: bytes, *, durable: bool = True) -> str:
        stored.append(data)
        return real(self, data, durable=durable)

    monkeypatch.setattr(S3Blobs, "is_late", lambda self, began: next(late))
    monkeypatch.setattr(S3Blobs, "put", put)
    digest = publish(draft, b"# Second\n")
    assert stored == [b"# Second\n"] * 3 and digest in draft.blobs.stored() and checking.check(draft).clean


def test_half_the_grace_is_what_a_commit_has(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = open_place(bucket, grace=100)
    began = blobs.began()
    assert not blobs.is_late(began - 49) and blobs.is_late(began - 51)
    assert not open_place(bucket, grace=0).is_late(began - 10_000), "one process alone needs no such rule"


def test_a_removal_whose_answer_got_lost_keeps_writers_off(
    bucket: str, object_store: RunningStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = open_place(bucket)
    digest = writer.put(b"hello")
    monkeypatch.setattr(S3Blobs, "_is_old", lambda self, digest, age: True)
    monkeypatch.setattr(s3_blobs, "PATIENCE", 0.3)
    with faulty_proxy(object_store.url) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        monkeypatch.setattr(s3_store, "RETRIES", 0)
        collector = open_place(bucket)
        proxy.set("lost", methods=("DELETE", "POST"))
        with pytest.raises(BlobStoreError), collector.removing(digest) as removable:
            assert removable
            collector.delete(digest)
    assert digest not in writer.stored(), "it was done after all"
    with pytest.raises(BlobStoreError, match="being removed"):
        writer.put(b"hello")
    assert len([stray for stray in writer.strays() if MARKS in stray.key]) == 1


def test_a_copy_is_refused_once_the_original_went_on(
    draft: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(draft.folder, tmp_path / "copy")
    blob_places.check_at_start(draft.blobs, draft.database)
    pushed = publish(draft, b"# Second\n")
    if postgres.CHOSEN:  # both folders have one database, which knows whose the audit log is
        with pytest.raises(ConfigError, match="is in another folder"):
            open_folder(tmp_path / "copy")
        return
    copy = open_folder(tmp_path / "copy")
    grow_old(copy, monkeypatch)
    with copy.database.writing() as db:
        tombstones.doom(db, [pushed], repository="x/y", due="2000-01-01T00:00:00.000Z")
    for remove in (sweeping.sweep, deletion.purge, lambda it: blob_places.check_at_start(it.blobs, it.database)):
        with pytest.raises(ConfigError, match="used by a copy of this registry") as refused:
            remove(copy)
        assert "take-blobs-over" in refused.value.hint
    assert pushed in draft.blobs.stored() and "used by a copy" in checking.check(copy).corrupt[0]
    blob_places.take_over(copy.blobs, copy.database)
    blob_places.check_owner(copy.blobs, copy.database)
    with pytest.raises(ConfigError, match="used by a copy"):
        sweeping.sweep(draft)
    copy.close()


def test_processes_of_one_registry_renew_beside_one_another(draft: Registry) -> None:
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: blob_places.renew_owner(draft.blobs, draft.database), range(6)))  # type: ignore[arg-type]
    blob_places.check_owner(draft.blobs, draft.database)
    assert draft.setting(blob_places.TOKENS)


def test_a_purge_asks_whose_place_it_is(draft: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    deletion.delete(draft, ALICE, "radboud", "draft")
    grow_old(draft, monkeypatch)
    assert isinstance(draft.blobs, S3Blobs)
    draft.blobs.store.overwrite(s3_blobs.OWNER, s3_probe.written("somebody else"))
    with pytest.raises(ConfigError, match="another registry"):
        deletion.purge(draft)
    assert sha256(b"# First\n") in draft.blobs.stored()


def test_an_hour_goes_by_between_two_sweeps(draft: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    left = draft.blobs.put(b"left over")
    grow_old(draft, monkeypatch)
    monkeypatch.setattr(S3Blobs, "present", lambda self: datetime.now(UTC) + timedelta(days=1))
    assert sweeping.sweep_if_due(draft) == sweeping.sweep_if_due(draft) == {}, "from its start on"
    assert draft.setting(blob_places.TOKENS), "the token is renewed all the same"
    with draft.database.writing() as db:
        accounts.write_setting(db, sweeping.SWEPT, stamp(now() - timedelta(minutes=61)))
    assert sweeping.sweep_if_due(draft) == {left: 9} and left not in draft.blobs.stored()
    draft.blobs.put(b"left over")
    assert sweeping.sweep_if_due(draft) == {}


def test_a_damaged_transfer_is_not_taken_for_a_loss(draft: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = draft.blobs.put(b"{}")
    assert isinstance(draft.blobs, S3Blobs)
    draft.blobs.store.overwrite(s3_blobs.OBJECTS + digest, b"other")
    with pytest.raises(BlobStoreError, match="other bytes"):
        stolen_keys._signer(draft, digest, {})
    monkeypatch.setattr(S3Blobs, "get", fail)
    with pytest.raises(BlobStoreError, match="gone"):
        checking._why_refused(draft, digest)


def test_a_delete_waits_for_no_push_over_s3(draft: Registry) -> None:
    draft.storing._patience = 0.1
    with draft.storing.together():
        deletion.delete_as_operator(draft, "radboud/draft", reason="no use")
    assert repositories.find(draft.database.connection(), "radboud", "draft") is None


def fail(*_: object) -> None:
    raise BlobStoreError("the store is gone")


def said(registry: Registry, *words: str) -> str:
    return run_here("--dir", registry.folder, "storage", "prune", *words).stdout


@contextmanager
def asked(store: s3_store.ObjectStore) -> Iterator[list[str]]:
    """The names of the calls of a store within the block."""
    calls = list[str]()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("create", "overwrite", "read", "read_tagged", "replace", "head", "delete", "list"):
            real = getattr(store, name)

            def counting(*arguments: Any, _real: Any = real, _name: str = name, **options: Any) -> Any:
                calls.append(_name)
                return _real(*arguments, **options)

            patch.setattr(store, name, counting)
        yield calls


def grow_old(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is stored was written long ago."""
    assert isinstance(registry.blobs, S3Blobs)
    registry.blobs._young.clear()
    monkeypatch.setattr(S3Blobs, "_is_old", lambda self, digest, age: True)
    with registry.database.writing() as db:
        db.execute("UPDATE purge SET due = '2000-01-01T00:00:00.000Z'")
