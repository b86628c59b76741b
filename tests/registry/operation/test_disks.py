"""Disks that are full, limited or read-only, a database that another process holds: told, and nothing half-written."""

from __future__ import annotations

import os
import resource
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from embhub.errors import ConfigError
from embhub_registry.admission import publication
from embhub_registry.database import Connection, Database, DatabaseBusyError, StorageFullError
from embhub_registry.database.people import accounts
from embhub_registry.operation.backups import checking
from embhub_registry.operation.backups.backup import back_up
from embhub_registry.repositories import repos
from embhub_registry.repositories.commits import CommitRequest
from embhub_registry.storage import database_place
from embhub_registry.storage.folder import Registry, create
from embhub_registry.storage.shared_lock import SharedLock
from tests.support import disks, postgres, pushes, releases
from tests.support.backups import restore
from tests.support.servers import RunningRegistry, init_registry, run_command

ADMIN = accounts.Account(1, "admin", "registry", "admin", "", b"", None, None)


ADD_USER = ("user", "add", "x", "--namespace", "y", "--role", "reader")


of_a_file = pytest.mark.skipif(postgres.CHOSEN, reason="SQLite's file is on the disk that is full")


@pytest.fixture(scope="module")
def release() -> dict[str, bytes]:
    return dict(releases.make_release().files)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[RunningRegistry]:
    made = init_registry(tmp_path)
    yield made
    made.stop()


def prepare(registry: Registry, pem: Path) -> None:
    """A repository that a release may be published to."""
    from embhub_registry.operation import administration

    pem.write_text(releases.SITE.public_pem)
    administration.add_key(registry, pem, namespace="radboud", role="publish")
    administration.add_user(registry, ADMIN.user, namespace=ADMIN.namespace, role=ADMIN.role)
    repos.create(registry, ADMIN, "radboud", "prostate-cspca", private=False)


def publish(registry: Registry, files: dict[str, bytes]) -> None:
    request = CommitRequest("t", "", None, files, frozenset(), frozenset())
    publication.publish(registry, ADMIN, "radboud", "prostate-cspca", branch="main", request=request)


def files_under(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_wherever_the_disk_ends_a_release_is_stored_whole_or_not_at_all(
    tmp_path: Path, release: dict[str, bytes]
) -> None:
    """A disk of its own, with a little more room at each attempt, until the release fits."""
    with disks.small_disk(tmp_path / "disk", kilobytes=3000) as disk:
        registry = create(disk / "registry", name="Test", url="http://127.0.0.1:1", audit="optional")
        prepare(registry, tmp_path / "site.pem")
        refusals = 0
        for room in range(0, 2000, 4):
            taken = disks.fill(disk)
            os.truncate(taken, max(0, taken.stat().st_size - room * 1024))
            try:
                publish(registry, release)
            except StorageFullError as error:
                assert "could not store this" in error.message and error.hint
                refusals += 1
            else:
                break
            finally:
                taken.unlink()
            report = checking.check(registry)
            assert report.clean and report.revisions == 1, report
        on_this_disk = not postgres.CHOSEN
        assert (refusals > 3) == on_this_disk
        assert checking.check(registry).revisions == 2 and checking.check(registry).clean
        registry.close()


@pytest.mark.thorough
@of_a_file
def test_a_server_on_a_full_disk_refuses_in_words_and_recovers(tmp_path: Path, release: dict[str, bytes]) -> None:
    with disks.small_disk(tmp_path / "disk", kilobytes=3000) as disk:
        served = init_registry(disk)
        served.add_key(releases.SITE, namespace="radboud")
        token = served.add_user("anna", namespace="radboud")
        served.start()
        try:
            pushes.create(served, "prostate-cspca", token=token)
            taken = disks.fill(disk)
            for answer in (
                pushes.commit(served, releases.REPOSITORY, release, token=token),
                pushes.create(served, "other", token=token),
            ):
                assert answer.status == 507 and answer.json()["rule"] == "storage" and answer.json()["remedy"]
            assert [m["id"] for m in served.get("/api/models").json()] == [releases.REPOSITORY], "reading goes on"
            assert served.get(f"/{releases.REPOSITORY}/resolve/main/README.md").status == 404
            for words in (ADD_USER, ("backup", "make", disk / "x.tar")):
                done = served.run(*words, check=False)
                assert done.returncode == 5 and "full" in done.stderr and "Traceback" not in done.stderr
            before = files_under(disk)
            done = run_command("--dir", disk / "new", "init", check=False)
            assert done.returncode in (5, 7) and "Traceback" not in done.stderr and files_under(disk) == before
            taken.unlink()
            assert pushes.commit(served, releases.REPOSITORY, release, token=token).status == 200
        finally:
            assert served.stop() == 0
        with served.opened() as opened:
            assert checking.check(opened).clean


@of_a_file
def test_a_process_that_may_write_no_large_file(served: RunningRegistry) -> None:
    """RLIMIT_FSIZE, which any user can set: every file ends at 100 bytes, the process's own log too."""
    token = served.add_user("anna", namespace="radboud")
    served.start()
    assert served.process is not None
    pushes.create(served, "r", token=token)
    resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
    answer = pushes.commit(served, "radboud/r", {"README.md": b"# Hello\n" * 500}, token=token)
    assert answer.status == 507 and answer.json()["rule"] == "storage"
    assert pushes.create(served, "other", token=token).status == 507
    assert served.get("/api/models/radboud/r").status == 200
    resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert pushes.commit(served, "radboud/r", {"README.md": b"# Hello\n" * 500}, token=token).status == 200
    assert served.stop() == 0
    with served.opened() as opened:
        assert checking.check(opened).clean


def test_backup_and_restore_on_a_full_disk_leave_nothing(tmp_path: Path) -> None:
    registry = create(tmp_path / "registry", name="Test", url="http://127.0.0.1:1", audit="optional")
    back_up(registry, tmp_path / "whole.tar")
    with disks.small_disk(tmp_path / "disk", kilobytes=100) as disk:
        with pytest.raises(StorageFullError):
            back_up(registry, disk / "x.tar")
        with pytest.raises(StorageFullError):
            restore(tmp_path / "whole.tar", disk / "again")
        assert list(disk.iterdir()) == []
    registry.close()


@of_a_file
def test_a_read_only_folder(tmp_path: Path) -> None:
    served = init_registry(tmp_path)
    before = files_under(served.folder)
    with disks.read_only(served.folder):
        for words in (
            ("serve", "--port", "0"),
            ("check",),
            ("user", "add", "x", "--namespace", "y", "--role", "reader"),
        ):
            done = served.run(*words, check=False)
            assert done.returncode == 7 and "Traceback" not in done.stderr, done.stderr
            assert "cannot be written" in done.stderr and "hint: remount" in done.stderr
        with pytest.raises(ConfigError, match="cannot write"):
            create(served.folder / "new", name="Test", url="http://127.0.0.1:1", audit="optional")
    assert files_under(served.folder) == before
    with served.opened() as opened:
        assert checking.check(opened).clean


def test_a_database_that_another_process_holds(served: RunningRegistry) -> None:
    """Readers go on; writers wait ten seconds and are told to come again; then all is as before."""
    token = served.add_user("anna", namespace="radboud")
    served.start()
    pushes.create(served, "r", token=token)
    holder = Database(database_place.find(served.folder))
    with holder.writing():
        commands = []
        command = threading.Thread(target=lambda: commands.append(served.run(*ADD_USER, check=False)))
        command.start()
        started = time.monotonic()
        assert served.get("/api/models/radboud/r").status == 200 and time.monotonic() - started < 5
        answer = pushes.commit(served, "radboud/r", {"README.md": b"# Hello\n"}, token=token)
        assert answer.status == 503 and answer.header("Retry-After") and answer.json()["rule"] == "busy"
        command.join()
        assert commands[0].returncode == 5 and "busy with other writers" in commands[0].stderr
    holder.close()
    with served.opened() as opened:
        assert list(opened.blobs.stored()) == [], "what was refused is not kept"
    assert pushes.commit(served, "radboud/r", {"README.md": b"# Hello\n"}, token=token).status == 200
    assert served.stop() == 0
    with served.opened() as opened:
        assert checking.check(opened).clean


def test_a_turn_that_does_not_come() -> None:
    turn = SharedLock(patience=0.05)
    with turn, pytest.raises(DatabaseBusyError, match="busy"), turn:
        pass
    with turn, pytest.raises(DatabaseBusyError, match="busy"), turn.together():
        pass
    with turn.together(), turn.together(), pytest.raises(DatabaseBusyError, match="busy"), turn:
        pass
    with turn:
        pass


def test_who_waits_to_be_alone_goes_before_new_company() -> None:
    turn, order = SharedLock(), list[str]()

    def alone() -> None:
        with turn:
            order.append("alone")

    def company() -> None:
        with turn.together():
            order.append("company")

    threads = [threading.Thread(target=alone), threading.Thread(target=company)]
    with turn.together():
        for thread in threads:
            thread.start()
            time.sleep(0.05)
        assert order == []
    for thread in threads:
        thread.join(10)
    assert order == ["alone", "company"]


def test_a_push_that_fails_leaves_the_bytes_of_another_that_is_on_its_way(
    tmp_path: Path, release: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two commits bring the same bytes; one is refused after both were written, before the other is stored."""
    registry = create(tmp_path / "hub", name="Test", url="http://127.0.0.1:1", audit="optional")
    prepare(registry, tmp_path / "key.pem")
    repos.create(registry, ADMIN, "radboud", "other", private=False)
    written, refused = threading.Event(), threading.Event()
    run = registry.sequencer.run

    def late(work: Callable[[Connection], object]) -> object:
        if threading.current_thread() is good:
            written.set()
            assert refused.wait(10)
            time.sleep(0.1)
            return run(work)
        assert written.wait(10)
        refused.set()
        raise StorageFullError("no room", "")

    def push() -> None:
        request = CommitRequest("t", "", None, {"README.md": release["README.md"]}, frozenset(), frozenset())
        publication.publish(registry, ADMIN, "radboud", "other", branch="main", request=request)

    good = threading.Thread(target=push)
    monkeypatch.setattr(registry.sequencer, "run", late)
    good.start()
    with pytest.raises(StorageFullError):
        publish(registry, {"README.md": release["README.md"]})
    good.join(20)
    monkeypatch.undo()
    assert checking.check(registry).clean
    registry.close()
