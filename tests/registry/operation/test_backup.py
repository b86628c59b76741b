"""A backup holds one whole moment of a registry, also one that is being written to, and comes back as that registry."""

from __future__ import annotations

import stat
import tarfile
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import embhub
from embhub.errors import ConfigError, UsageError
from embhub.trust.keyring import parse_export
from embhub_registry.admission import publication
from embhub_registry.database import clock
from embhub_registry.database.people import accounts
from embhub_registry.database.releases import repositories
from embhub_registry.operation import administration
from embhub_registry.operation.backups import backup, checking
from embhub_registry.operation.backups.backup import back_up
from embhub_registry.operation.opening import open_folder
from embhub_registry.repositories import repos
from embhub_registry.repositories.commits import CommitRequest
from embhub_registry.storage.folder import Registry, create
from tests.support import pushes, releases, stored_objects
from tests.support.backups import restore
from tests.support.servers import RunningRegistry, running_registry
from tests.support.sites import Site

CSPCA = releases.REPOSITORY


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    made = create(tmp_path / "registry", name="Test", url="https://hub.example.org", audit="optional")
    yield made
    made.close()


def publish(registry: Registry, name: str, text: bytes = b"# Hello\n") -> None:
    with registry.database.writing() as db:
        accounts.add_namespace(db, "registry", now="2026-11-20T00:00:00.000Z")
        if accounts.find_user(db, "admin") is None:
            accounts.add_user(db, name="admin", namespace="registry", role="admin", now="2026-11-20T00:00:00.000Z")
    admin = accounts.Account(1, "admin", "registry", "admin", "", b"", None, None)
    repos.create(registry, admin, "registry", name, private=False)
    request = CommitRequest("t", "", None, {"README.md": text}, frozenset(), frozenset())
    publication.publish(registry, admin, "registry", name, branch="main", request=request)


def test_a_restored_registry_is_the_one_that_was_backed_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running_registry(tmp_path) as served:
        served.add_key(releases.SITE, namespace="radboud")
        token = served.add_user("anna", namespace="radboud")
        pushes.create(served, "prostate-cspca", token=token)
        assert pushes.commit(served, CSPCA, releases.make_release().files, token=token).status == 200
        made = served.ask("backup", "make", tmp_path / "hub.tar")
        before = served.get("/embhub/v1/trust").body
    assert made["schema"] == "embhub.backup/2" and made["blobs"] == 6 and made["keyring_version"] == 2
    assert stat.S_IMODE((tmp_path / "hub.tar").stat().st_mode) == 0o600
    with tarfile.open(tmp_path / "hub.tar") as archive:
        names = archive.getnames()
    assert names[:3] == ["backup.json", "backup.sig", "registry.db"]
    assert names[3:6] == ["keys/root.pem", "keys/root.pub", "audit.jsonl"]
    assert len(names) == 12 and all(name.startswith("blobs/") for name in names[6:])

    again = RunningRegistry(tmp_path / "again", served.url, served.admin, served.root_fingerprint)
    signer = ("--signed-by", str(made["signed_by"]), "--keep-tokens")
    assert again.ask("backup", "restore", tmp_path / "hub.tar", *signer)["root_fingerprint"] == served.root_fingerprint
    assert stat.S_IMODE(again.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((again.folder / "keys/root.pem").stat().st_mode) == 0o600
    again.add_key(releases.OTHER_SITE, namespace="lumc")  # the root key signs on
    again.start()
    try:
        after = again.get("/embhub/v1/trust").body
        assert parse_export(after).root_fingerprint == parse_export(before).root_fingerprint
        site = Site(tmp_path / "lumc", again.url).enter(monkeypatch)
        site.trust(again)
        assert embhub.pull(CSPCA, out=tmp_path / "got").version == "1.0.0"
        assert again.get("/api/whoami-v2", token=token).json()["name"] == "anna"
    finally:
        again.stop()
    log = (again.folder / "audit.jsonl").read_text()
    assert '"event": "restored"' in log and '"event": "commit"' in log


@pytest.mark.thorough
def test_a_backup_under_load_is_one_whole_moment(tmp_path: Path) -> None:
    """Four write, one deletes, while backups are made: each comes back whole, with all that was acknowledged before."""
    with running_registry(tmp_path) as served:
        tokens = [served.add_user(f"u{n}", namespace=f"n{n}") for n in range(4)]
        written: list[tuple[str, bytes]] = []
        enough, failures = threading.Event(), list[bytes]()

        def write(number: int) -> None:
            name = f"n{number}/r"
            pushes.create(served, "r", token=tokens[number])
            for turn in range(1000):
                if enough.is_set():
                    return
                data = f"# {name} {turn}\n".encode() * 40
                answer = pushes.commit(served, name, {"README.md": data}, token=tokens[number])
                if answer.status != 200:
                    failures.append(answer.body)
                written.append((answer.json()["commitOid"], data))

        def delete() -> None:
            while not enough.is_set():
                pushes.create(served, "brief", token=served.admin)
                pushes.commit(served, "registry/brief", {"README.md": b"# Brief\n" * 999}, token=served.admin)
                body = {"name": "brief", "organization": "registry", "type": "model"}
                served.request("DELETE", "/api/repos/delete", token=served.admin, json_body=body)

        threads = [threading.Thread(target=write, args=(n,)) for n in range(4)] + [threading.Thread(target=delete)]
        for thread in threads:
            thread.start()
        taken: list[list[tuple[str, bytes]]] = []
        with served.opened() as beside:
            for turn in range(3):
                while len(written) < 8 * (turn + 1):
                    enough.wait(0.02)
                taken.append(list(written))
                back_up(beside, tmp_path / f"{turn}.tar")
        enough.set()
        for thread in threads:
            thread.join()
    assert not failures
    for turn, promised in enumerate(taken):
        restore(tmp_path / f"{turn}.tar", tmp_path / f"again{turn}")
        again = open_folder(tmp_path / f"again{turn}")
        assert checking.check(again).clean
        for commit, data in promised:
            row = again.database.connection().execute(
                "SELECT digest FROM entry WHERE revision_id = ? AND path = 'README.md'", (commit,)
            )
            assert again.blobs.get(row.fetchone()[0]) == data
        again.close()


def test_a_repository_deleted_meanwhile_means_a_new_copy(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(registry, "stays")
    publish(registry, "goes", b"# Goes\n")
    whole = backup._write_archive

    def delete_first(*arguments: Any) -> object:
        monkeypatch.setattr(backup, "_write_archive", whole)
        with registry.database.writing() as db:
            found = repositories.find(db, "registry", "goes")
            assert found is not None
            unused = repositories.delete(db, found.id)
        for digest in unused:
            registry.blobs.delete(digest)
        return whole(*arguments)

    monkeypatch.setattr(backup, "_write_archive", delete_first)
    assert back_up(registry, tmp_path / "x.tar")["blobs"] == 1
    restore(tmp_path / "x.tar", tmp_path / "again")


@pytest.mark.parametrize("damage", ["lost", "changed"])
def test_what_is_not_whole_is_not_backed_up(registry: Registry, tmp_path: Path, damage: str) -> None:
    publish(registry, "r")
    stored = next(registry.blobs.stored())
    if damage == "changed":
        stored_objects.write_over(registry.blobs, stored, b"# Jello\n")
    else:
        stored_objects.lose(registry.blobs, stored)
    with pytest.raises(ConfigError, match="would not be whole") as refused:
        back_up(registry, tmp_path / "x.tar")
    assert "check" in refused.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["registry"], "nothing half-written stays"


def test_beside_the_database_it_is_whole_too(registry: Registry, tmp_path: Path) -> None:
    publish(registry, "r")
    back_up(registry, registry.folder / "x.tar")
    assert restore(registry.folder / "x.tar", tmp_path / "again")["blobs"] == 1 and checking.check(registry).clean


def test_nothing_is_overwritten_and_nothing_is_guessed(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_text("mine")
    (tmp_path / "link.tar").symlink_to(tmp_path / "elsewhere")
    for name, words in (("x.tar", "already"), ("link.tar", "already"), ("none/x.tar", "no folder")):
        with pytest.raises(UsageError, match=words):
            back_up(registry, tmp_path / name)
    assert (tmp_path / "x.tar").read_text() == "mine"


def test_the_audit_log_is_cut_where_the_database_says(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event that is written, and a month that ends, between the copy and the reading are not in it."""
    monkeypatch.setattr(clock, "now", lambda: datetime(2131, 1, 15, tzinfo=UTC))
    registry.audit_log.write("january")
    monkeypatch.setattr(clock, "now", lambda: datetime(2131, 2, 15, tzinfo=UTC))
    registry.audit_log.write("february")
    whole = registry.audit_log.path.read_bytes()
    copy_to = registry.database.copy_to

    def copy_and_go_on(path: Path) -> None:
        copy_to(path)
        registry.audit_log.write("later")
        monkeypatch.setattr(clock, "now", lambda: datetime(2131, 3, 15, tzinfo=UTC))
        registry.audit_log.write("march")

    monkeypatch.setattr(registry.database, "copy_to", copy_and_go_on)
    back_up(registry, tmp_path / "x.tar")
    with tarfile.open(tmp_path / "x.tar") as archive:
        names = [name for name in archive.getnames() if name.startswith("audit")]
        kept = archive.extractfile("audit.jsonl")
        assert kept is not None and kept.read() == whole and b"february" in whole
    assert names[-2:] == ["audit-2131-01.jsonl", "audit.jsonl"]
    restore(tmp_path / "x.tar", tmp_path / "again")
    again = open_folder(tmp_path / "again")
    assert again.audit_log.problems() == []
    again.close()


def test_tokens_of_the_moment_are_in_it(registry: Registry, tmp_path: Path) -> None:
    """Said in the documents: a token that was revoked after the backup works again after the restore."""
    added = administration.add_user(registry, "anna", namespace="radboud", role="publisher")
    back_up(registry, tmp_path / "x.tar")
    administration.revoke_token(registry, "anna")
    restore(tmp_path / "x.tar", tmp_path / "again")
    again = open_folder(tmp_path / "again")
    states = {row["id"]: row["state"] for row in administration.list_tokens(again)["tokens"]}
    assert states[added["token_id"]] == "good"
    again.close()
