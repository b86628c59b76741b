"""`check` names what is corrupt and what is orphaned."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from embhub.release.files import AUDIT
from embhub.site.signing import keys
from embhub_registry.admission import publication
from embhub_registry.admission.publication import describe_blob
from embhub_registry.database.people import accounts
from embhub_registry.database.releases import repositories
from embhub_registry.database.releases.repositories import Revision
from embhub_registry.operation import administration
from embhub_registry.operation.backups import checking, repair
from embhub_registry.repositories import deletion, repos
from embhub_registry.repositories.commits import CommitRequest
from embhub_registry.storage import folder
from embhub_registry.storage.folder import Registry
from embhub_registry.storage.stores.folder_blobs import FolderBlobs
from tests.support import stored_objects
from tests.support.quick import quick
from tests.support.releases import make_embedding, make_report
from tests.support.servers import run_here
from tests.support.stored_objects import needs_folder

DAY = "2026-11-20T00:00:00.000Z"


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    made = folder.create(tmp_path / "registry", name="Test", url="http://127.0.0.1:1", audit="optional")
    administration.add_user(made, "alice", namespace="radboud", role="publisher")
    alice = accounts.Account(1, "alice", "radboud", "publisher", "", b"", None, None)
    repos.create(made, alice, None, "r", private=False)
    request = CommitRequest("t", "", None, {"README.md": b"# Hello\n"}, frozenset(), frozenset())
    publication.publish(made, alice, "radboud", "r", branch="main", request=request)
    yield made
    made.close()


def blob(registry: Registry) -> str:
    return next(registry.blobs.stored())


def in_folder(registry: Registry, digest: str) -> Path:
    assert isinstance(registry.blobs, FolderBlobs)
    return registry.blobs.path(digest)


def flip(registry: Registry) -> None:
    stored_objects.write_over(registry.blobs, blob(registry), b"# Jello\n")


def lose(registry: Registry) -> None:
    stored_objects.lose(registry.blobs, blob(registry))


def rewrite_history(registry: Registry) -> None:
    with registry.database.writing() as db:
        db.execute("UPDATE revision SET author = 'mallory'")


def lose_main(registry: Registry) -> None:
    with registry.database.writing() as db:
        db.execute("DELETE FROM ref")


def forge_keyring(registry: Registry) -> None:
    with registry.database.writing() as db:
        envelope = bytes(db.execute("SELECT envelope FROM keyring").fetchone()[0]).replace(b'"sig": "M', b'"sig": "N')
        db.execute("UPDATE keyring SET envelope = ?", (envelope,))


def lose_root_key(registry: Registry) -> None:
    (registry.folder / "keys" / "root.pem").unlink()


def test_a_root_key_that_is_kept_elsewhere_is_no_fault(registry: Registry) -> None:
    lose_root_key(registry)
    assert checking.check(registry).clean


def swap_root_key(registry: Registry) -> None:
    for suffix in ("pem", "pub"):
        (registry.folder / "keys" / f"root.{suffix}").unlink()
    keys.generate("root", folder=registry.folder / "keys")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (flip, "other bytes"),
        (lose, "cannot be read"),
        (rewrite_history, "another id"),
        (lose_main, "no branch main"),
        (forge_keyring, "keyring"),
        (swap_root_key, "another key"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_corruption_is_named(registry: Registry, damage: Callable[[Registry], None], words: str) -> None:
    assert checking.check(registry).clean
    damage(registry)
    report = checking.check(registry)
    assert any(words in line for line in report.corrupt), report


@needs_folder
def test_orphans_are_named(registry: Registry) -> None:
    digest = registry.blobs.put(b"stray")
    (registry.folder / "blobs" / "incoming" / "half").write_bytes(b"x")
    report = checking.check(registry)
    assert not report.corrupt and len(report.orphaned) == 2
    assert digest in report.orphaned[0] and "half" in report.orphaned[1]


def files(registry: Registry) -> set[Path]:
    return {path for path in registry.folder.rglob("*") if path.is_file() and not path.name.startswith("registry.db")}


def litter(registry: Registry) -> set[Path]:
    """What crashes leave: an object without a row, a row without a commit, half a write, half a copy."""
    alone, unused = registry.blobs.put(b"alone"), registry.blobs.put(b"unused")
    with registry.database.writing() as db:
        db.execute("INSERT INTO blob VALUES (?, 6, ?)", (unused, "0" * 40))
    half, copy = registry.folder / "blobs/incoming/half", registry.folder / "registry.before-002.db.partial"
    half.write_bytes(b"x")
    copy.write_bytes(b"x")
    odd = in_folder(registry, alone).with_name("notes.txt")
    odd.write_text("not a blob")
    return {in_folder(registry, alone), in_folder(registry, unused), half, copy, odd}


@needs_folder
def test_repair_removes_what_nothing_refers_to_and_nothing_else(registry: Registry) -> None:
    before = files(registry)
    added = litter(registry)
    report = checking.check(registry)
    assert not report.corrupt and len(report.orphaned) == 5 and files(registry) == before | added, (
        "check changes nothing"
    )
    assert set(repair.repair(registry, report)) == set(report.orphaned)
    assert files(registry) == before and checking.check(registry).clean
    assert "repaired" in registry.audit_log.path.read_text()


@needs_folder
def test_nothing_is_removed_where_something_is_corrupt(registry: Registry) -> None:
    lose(registry)
    added = litter(registry)
    assert repair.repair(registry, checking.check(registry)) == []
    assert added <= files(registry)


def test_a_blob_that_a_commit_took_up_after_all_stays(registry: Registry) -> None:
    digest = registry.blobs.put(b"# Later\n")
    report = checking.check(registry)
    alice = accounts.Account(1, "alice", "radboud", "publisher", "", b"", None, None)
    request = CommitRequest("t", "", None, {"README.md": b"# Later\n"}, frozenset(), frozenset())
    publication.publish(registry, alice, "radboud", "r", branch="main", request=request)
    assert digest in report.orphaned[0] and repair.repair(registry, report) == []
    assert digest in registry.blobs.stored() and checking.check(registry).clean


@needs_folder
def test_a_folder_among_the_blobs_is_named_and_left_alone(registry: Registry) -> None:
    inside = in_folder(registry, blob(registry)).parent / "mine" / "file"
    inside.parent.mkdir()
    inside.write_text("x")
    report = checking.check(registry)
    assert "is no blob" in report.orphaned[0] and repair.repair(registry, report) == [] and inside.exists()


def store(registry: Registry, report: bytes, *, version: str) -> None:
    """A release as an earlier program admitted it: what is refused today is there all the same."""
    db = registry.database.connection()
    found = repositories.find(db, "radboud", "r")
    assert found is not None
    rows = [describe_blob("README.md", b"# Hello\n"), describe_blob(AUDIT, report)]
    registry.blobs.put(report)
    parent = repositories.find_ref(db, found.id, repos.MAIN)
    draft = Revision("", parent, "alice", DAY, "Publish", "", version)
    revision = repos.name_revision(found.full_name, draft, {row.path: row.digest for row in rows})
    with registry.database.writing() as db:
        repositories.add_revision(db, found.id, revision, rows)
        repositories.set_ref(db, found.id, kind="branch", name=repos.MAIN, revision_id=revision.id)


def test_releases_whose_report_no_site_may_publish_today_are_listed_and_the_registry_is_clean(
    registry: Registry,
) -> None:
    good = make_report(make_embedding()).to_bytes()
    listed = json.loads(good)
    listed["attacks"][0]["order"] = "mn" * 60  # the labels of patients
    store(registry, json.dumps(listed).encode(), version="1.0.0")
    store(registry, good, version="1.1.0")
    report = checking.check(registry)
    assert report.clean and len(report.warnings) == 1
    assert "radboud/r 1.0.0 carries" in report.warnings[0] and "yank radboud/r --version 1.0.0" in report.warnings[0]
    store(registry, b'{"schema": "embhub.audit/1", "scores": [0.25]}', version="1.2.0")
    assert ["newest" in line for line in checking.check(registry).warnings] == [False, True]
    done = run_here("--dir", registry.folder, "check")
    assert (
        done.returncode == 0
        and done.stdout.count("warning") == 2
        and "clean" in done.stdout
        and "radboud/r 1.2.0" in done.stdout
    )


@pytest.mark.parametrize(
    "report", quick([b"{"], thorough=[b"", b"[]", b'{"schema": 1}', b'{"scheme": "embhub.audit/3"}', b"\xff"])
)
def test_a_report_that_cannot_be_read_is_listed_too(registry: Registry, report: bytes) -> None:
    store(registry, report, version="1.0.0")
    found = checking.check(registry)
    assert found.clean and len(found.warnings) == 1


@needs_folder
def test_bytes_of_a_deleted_repository_are_orphans_once_a_server_should_have_removed_them(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    deletion.delete(registry, accounts.Account(1, "alice", "radboud", "publisher", "", b"", None, None), "radboud", "r")
    assert len(list(registry.blobs.stored())) == 1 and checking.check(registry).clean
    monkeypatch.setattr(checking, "REMOVED_WITHIN", -timedelta(seconds=1))
    (orphan,) = checking.check(registry).orphaned
    assert "the database does not know it" in orphan
