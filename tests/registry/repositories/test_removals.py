"""Bytes of deleted repositories: removed when they are due, and never what a commit names. On both engines."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from embhub_registry.admission import publication
from embhub_registry.database.people import accounts
from embhub_registry.database.releases import repositories
from embhub_registry.operation import administration
from embhub_registry.operation.backups import checking, repair
from embhub_registry.operation.opening import open_folder
from embhub_registry.repositories import deletion, repos, retention
from embhub_registry.repositories.commits import CommitRequest
from embhub_registry.storage import folder
from embhub_registry.storage.folder import Registry
from embhub_registry.storage.stores.blobs import BlobStore, sha256
from tests.support.postgres import Server
from tests.support.servers import run_here

ALICE = accounts.Account(1, "alice", "radboud", "publisher", "", b"", None, None)
FIRST = b"# First\n"


@pytest.fixture(params=["sqlite", "postgresql"])
def draft(tmp_path: Path, postgresql: Server, request: pytest.FixtureRequest) -> Iterator[Registry]:
    """A registry that nobody serves, with a repository of one file."""
    database = postgresql.new_schema() if request.param == "postgresql" else None
    made = folder.create(tmp_path / "hub", name="T", url="http://127.0.0.1:1", audit="optional", database=database)
    administration.add_user(made, "alice", namespace="radboud", role="publisher")
    repos.create(made, ALICE, None, "draft", private=False)
    publish(made, FIRST)
    yield made
    made.close()


def publish(registry: Registry, text: bytes, name: str = "draft") -> str:
    request = CommitRequest("t", "", None, {"README.md": text}, frozenset(), frozenset())
    publication.publish(registry, ALICE, "radboud", name, branch="main", request=request)
    return sha256(text)


def make_due(registry: Registry) -> None:
    with registry.database.writing() as db:
        db.execute("UPDATE purge SET due = '2000-01-01T00:00:00.000Z'")


def said(registry: Registry, *words: str) -> str:
    return run_here("--dir", registry.folder, "storage", "prune", *words).stdout


def test_bytes_of_a_deleted_repository_go(draft: Registry) -> None:
    deletion.delete(draft, ALICE, "radboud", "draft")
    report = checking.check(draft)
    assert report.clean and repair.repair(draft, report) == [], "it waits for its removal"
    assert deletion.purge(draft) == 1 and list(draft.blobs.stored()) == []
    report = checking.check(draft)
    assert report.clean and report.purged == 1


def test_a_deletion_asks_the_store_nothing_whatever_others_deleted(
    draft: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        name = f"other-{number}"
        repos.create(draft, ALICE, None, name, private=False)
        publish(draft, b"# Other %d\n" % number, name)
        deletion.delete(draft, ALICE, "radboud", name)

    def ask(self: BlobStore, digest: str) -> None:
        raise AssertionError("the store was asked")

    for name in ("read", "delete", "size"):
        monkeypatch.setattr(type(draft.blobs), name, ask)
    deletion.delete(draft, ALICE, "radboud", "draft")


def test_a_turn_removes_so_many_and_the_next_one_the_rest(draft: Registry) -> None:
    for number in range(3):
        publish(draft, b"# Draft %d\n" % number)
    deletion.delete(draft, ALICE, "radboud", "draft")
    assert [deletion.purge(draft, at_most=3), deletion.purge(draft, at_most=3)] == [3, 1]
    assert list(draft.blobs.stored()) == []


def test_an_operator_removes_what_he_deleted_and_nothing_else(draft: Registry) -> None:
    repos.create(draft, ALICE, None, "other", private=False)
    other = publish(draft, b"# Other\n", "other")
    deletion.delete(draft, ALICE, "radboud", "other")
    assert deletion.delete_as_operator(draft, "radboud/draft", reason="no use")["purged"] == 1
    assert list(draft.blobs.stored()) == [other]


def test_bytes_that_came_again_are_spared(draft: Registry) -> None:
    deletion.delete(draft, ALICE, "radboud", "draft")
    repos.create(draft, ALICE, None, "draft", private=False)
    digest = publish(draft, FIRST)
    make_due(draft)
    assert deletion.purge(draft) == 0
    assert digest in draft.blobs.stored() and checking.check(draft).clean


def test_what_nothing_names_is_named_and_repaired(draft: Registry) -> None:
    before, left = set(draft.blobs.stored()), draft.blobs.put(b"left over")
    report = checking.check(draft)
    assert report.orphaned == [f"blob {left}: the database does not know it"]
    assert repair.repair(draft, report) == report.orphaned
    assert set(draft.blobs.stored()) == before and checking.check(draft).clean


def test_prune_says_what_goes_and_what_went(draft: Registry) -> None:
    deletion.delete(draft, ALICE, "radboud", "draft")
    counted = "1 objects of deleted repositories (8 bytes), 0 expired"
    assert f"would remove: 0 months of the audit log, {counted}" in said(draft)
    assert list(draft.blobs.stored()) != []
    assert f"removed: 0 months of the audit log, {counted}" in said(draft, "--apply")
    assert list(draft.blobs.stored()) == [] and counted not in said(draft, "--apply")


def test_prune_says_what_it_leaves_to_the_server(draft: Registry) -> None:
    deletion.delete(draft, ALICE, "radboud", "draft")
    with draft.alone("serve"):
        result = retention.prune(open_folder(draft.folder), really=True)
    assert (result["objects"], result["bytes"], result["waiting"]) == (0, 0, 1)
    assert "removed: 0 months" in said(draft, "--apply") and list(draft.blobs.stored()) == []


def test_a_removal_that_failed_is_tried_again(draft: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    deletion.delete(draft, ALICE, "radboud", "draft")

    def fail(self: BlobStore, digest: str) -> None:
        raise OSError("the disk is gone")

    with monkeypatch.context() as failing:
        failing.setattr(type(draft.blobs), "delete", fail)
        with pytest.raises(OSError, match="gone"):
            deletion.purge(draft)
    assert sha256(FIRST) in draft.blobs.stored()
    assert deletion.purge(draft) == 1 and list(draft.blobs.stored()) == []


def test_a_commit_on_another_server_and_a_removal_of_its_bytes(
    tmp_path: Path, postgresql: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In both orders the whole way, as two servers go it: what a commit names is there."""
    address = postgresql.new_schema()
    one = folder.create(tmp_path / "hub", name="T", url="http://127.0.0.1:1", audit="optional", database=address)
    administration.add_user(one, "alice", namespace="radboud", role="publisher")
    other = open_folder(tmp_path / "hub")
    try:
        for removal_first in (True, False):
            repos.create(one, ALICE, None, "draft", private=False)
            publish(one, FIRST)
            deletion.delete(one, ALICE, "radboud", "draft")
            repos.create(one, ALICE, None, "draft", private=False)
            within, thread = held_within(one if removal_first else other, removal_first, monkeypatch)
            assert within.wait(10)
            if removal_first:
                publish(other, FIRST)
            else:
                deletion.purge(one)
            thread.join()
            assert one.blobs.read(sha256(FIRST)) == FIRST
            assert repositories.blob_is_known(one.database.connection(), sha256(FIRST))
            deletion.delete_as_operator(one, "radboud/draft", reason="again")
            monkeypatch.undo()
    finally:
        other.close()
        one.close()


def held_within(
    registry: Registry, removal: bool, monkeypatch: pytest.MonkeyPatch
) -> tuple[threading.Event, threading.Thread]:
    """Remove what is due, or publish the same bytes, in a thread that stays in its transaction for half a second."""
    within = threading.Event()
    name = "delete" if removal else "put"
    real = getattr(registry.blobs, name)

    def slow(*values: object) -> object:
        done = real(*values)
        within.set()
        threading.Event().wait(0.5)
        return done

    monkeypatch.setattr(registry.blobs, name, slow)
    work = (lambda: deletion.purge(registry)) if removal else (lambda: publish(registry, FIRST))
    thread = threading.Thread(target=work)
    thread.start()
    return within, thread
