"""Every line of the audit log says who acted and from where; what callers can repeat is counted, not synced each."""

from __future__ import annotations

import json
import os
import pwd
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from embhub.release.files import EMBEDDING
from embhub_registry.operation import administration
from embhub_registry.storage.audit import actors
from embhub_registry.storage.audit.batched_events import MOST, BatchedEvents
from embhub_registry.storage.folder import Registry, create
from tests.support import postgres, pushes, releases
from tests.support.servers import RunningRegistry, running_registry

ME = pwd.getpwuid(os.getuid()).pw_name


def rows(registry: Registry) -> list[dict[str, Any]]:
    return [json.loads(line) for line in registry.audit_log.lines()]


def waited_for(served: RunningRegistry, event: str, times: int) -> list[dict[str, Any]]:
    """The lines of an event, once they count `times`; the server writes them every five seconds."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        with served.opened() as registry:
            found = [row for row in rows(registry) if row["event"] == event]
        if sum(row.get("times", 1) for row in found) >= times:
            return found
        time.sleep(0.2)
    raise AssertionError(f"{event} {times} times did not come: {found}")


def test_a_command_is_its_users_from_the_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUDO_USER", raising=False)
    registry = create(tmp_path / "hub", name="Test", url="http://127.0.0.1:1", audit="optional")
    administration.add_user(registry, "anna", namespace="radboud", role="publisher")
    monkeypatch.setenv("SUDO_USER", "somebody")
    administration.new_token(registry, "anna")
    monkeypatch.setenv("SUDO_USER", "some\nbody")
    administration.new_token(registry, "anna")
    assert [(row["actor"], row["address"]) for row in rows(registry)] == [
        (ME, "shell"), (ME, "shell"), (f"{ME} (sudo: somebody)", "shell"), (ME, "shell"),
    ]  # fmt: skip
    assert registry.audit_log.problems() == []
    registry.close()


def test_lines_of_before_are_a_chain_with_those_of_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = create(tmp_path / "hub", name="Test", url="http://127.0.0.1:1", audit="optional")
    old = json.dumps

    def as_before(content: dict[str, Any], **how: Any) -> str:
        """A line as the release before wrote it."""
        return old({name: value for name, value in content.items() if name not in ("actor", "address")}, **how)

    monkeypatch.setattr(json, "dumps", as_before)
    registry.audit_log.write("event", user="anna")
    monkeypatch.undo()
    registry.audit_log.write("event", user="anna")
    assert ["actor" in row for row in rows(registry)] == [True, False, True]
    assert registry.audit_log.problems() == []
    registry.close()


def test_requests_are_their_accounts_and_reads_behind_a_gate_are_counted(tmp_path: Path) -> None:
    with running_registry(tmp_path) as served:
        served.add_key(releases.SITE, namespace="radboud")
        token, reader = served.add_user("anna", namespace="radboud"), served.add_user("rob", namespace="radboud")
        pushes.create(served, "prostate-cspca", token=token)
        files = releases.make_release().files
        assert pushes.commit(served, releases.REPOSITORY, files, token=token).status == 200
        address = f"/{releases.REPOSITORY}/resolve/main/{EMBEDDING}"
        assert served.get(address).status == 200  # public: not recorded
        body = {"private": True}
        settings = f"/api/models/{releases.REPOSITORY}/settings"
        assert served.request("PUT", settings, token=served.admin, json_body=body).status == 200
        forwarded = {"X-Forwarded-For": "192.0.2.7"}  # the server stands behind a proxy on this machine
        for _ in range(40):
            assert served.get(address, token=reader, headers=forwarded).status == 200
        assert served.get(address).status == 401 or served.get(address).status == 404
        reads = waited_for(served, "file-read", 40)
        assert {(row["actor"], row["address"], row["repository"], row["file"]) for row in reads} == {
            ("rob", "192.0.2.7", releases.REPOSITORY, EMBEDDING)
        }
        assert sum(row["times"] for row in reads) == 40 and len(reads) <= 4
        assert all(len(row["commit"]) == 40 for row in reads)
        with served.opened() as registry:
            found = rows(registry)
            assert registry.audit_log.problems() == []
        assert all(row["actor"] and "address" in row for row in found)
        assert {(row["actor"], row["address"]) for row in found if row["event"] == "commit"} == {("anna", "127.0.0.1")}
        assert {(row["actor"], row["address"]) for row in found if row["event"] == "settings"} == {
            ("admin", "127.0.0.1")
        }
        assert {row["address"] for row in found if row["event"] == "key-added"} == {"shell"}


@pytest.mark.thorough
def test_refused_commits_cost_no_synced_line_each(tmp_path: Path) -> None:
    with running_registry(tmp_path) as served:
        admin, reader = served.admin, served.add_user("rob", namespace="radboud", role="reader")
        pushes.create(served, "r", token=admin)
        with served.opened() as registry:
            before = registry.audit_log.head().number
        for _ in range(60):
            assert pushes.commit(served, "registry/r", {"README.md": b"# x\n"}, token=reader).status == 403
        refused = waited_for(served, "refused", 60)
        assert sum(row["times"] for row in refused) == 60 and len(refused) <= 4
        assert {(row["actor"], row["address"], row["status"]) for row in refused} == {("rob", "127.0.0.1", 403)}
        assert refused[0]["message"] and refused[0]["repository"] == "registry/r"
        with served.opened() as registry:
            assert registry.audit_log.head().number - before <= 6


def test_what_the_server_does_by_itself_is_the_servers(tmp_path: Path) -> None:
    with running_registry(tmp_path) as served:
        served.add_user("late", namespace="radboud", days=0)
        (ended,) = waited_for(served, "tokens-ended", 1)
        assert (ended["actor"], ended["address"]) == ("server", "server")


def test_many_kinds_are_bounded_and_counted(tmp_path: Path) -> None:
    registry = create(tmp_path / "hub", name="Test", url="http://127.0.0.1:1", audit="optional")
    events = BatchedEvents("refused")
    with actors.acting(actors.Actor("rob", "192.0.2.7")):
        for number in range(MOST + 500):
            events.note(repository=f"radboud/{number}")
    before = registry.audit_log.head().number
    events.write(registry.audit_log)
    events.write(registry.audit_log)
    found = rows(registry)[before:]
    assert len(found) == MOST + 1 and found[-1]["times"] == 500 and found[0]["actor"] == "rob"
    registry.close()


@pytest.mark.skipif(postgres.CHOSEN, reason="SQLite's files are looked at")
def test_the_database_and_its_log_are_the_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        registry = create(tmp_path / "hub", name="Test", url="http://127.0.0.1:1", audit="optional")
        modes = {f.name: stat.S_IMODE(f.stat().st_mode) for f in registry.folder.glob("registry.db*")}
        assert modes and set(modes.values()) == {0o600} and "registry.db-wal" in modes
        registry.close()
        (registry.folder / "registry.db").chmod(0o644)  # as a copy may be
        again = Registry(registry.folder)
        administration.list_users(again)
        again.audit_log.write("event")
        assert {stat.S_IMODE(f.stat().st_mode) for f in registry.folder.glob("registry.db*")} == {0o600}
        again.close()
    finally:
        os.umask(before)
