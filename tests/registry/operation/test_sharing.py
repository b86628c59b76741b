"""What servers of one registry have to agree on: the key of logins, who may write at all, and who signs what."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pyotp
import pytest

from embhub.errors import ConfigError
from embhub_registry import app
from embhub_registry.database import DatabaseBusyError
from embhub_registry.database.logs import audit_head, root_rows
from embhub_registry.database.people import accounts
from embhub_registry.database.standing import withdrawals
from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.operation.background import background_tasks
from embhub_registry.operation.facts import sharing
from embhub_registry.operation.observability import health
from embhub_registry.people.login import login_codes
from embhub_registry.people.login.login_codes import WrongCodeError
from embhub_registry.storage.folder import create
from tests.support.postgres import Server
from tests.support.replicas import Replicas, make_replicas
from tests.support.servers import Done, RunningRegistry, run_here

pytestmark = pytest.mark.slow


@pytest.fixture
def replicas(tmp_path: Path, postgresql: Server) -> Iterator[Replicas]:
    """Two folders of one registry; nothing is started."""
    made = make_replicas(tmp_path, postgresql, count=2)
    yield made
    made.stop()


def test_a_login_is_set_up_at_one_server_and_used_at_another(replicas: Replicas) -> None:
    with replicas[0].opened() as first, replicas[1].opened() as second:
        user = accounts.find_user(first.database.connection(), "admin")
        assert user is not None
        proposed = login_codes.propose(first, "admin")
        app = pyotp.TOTP(proposed.secret)
        login_codes.enrol(second, user["id"], "admin", sealed=proposed.sealed, code=app.at(int(time.time()) - 30))
        code = app.at(int(time.time()) + 30)
        assert login_codes.log_in(first, "admin", code)
        with pytest.raises(WrongCodeError):
            login_codes.log_in(second, "admin", code)  # each code counts once, whichever server is asked


def test_a_server_without_the_key_of_logins_says_so_and_makes_none(replicas: Replicas) -> None:
    """It would refuse right codes as wrong, and seal secrets that no other server can read."""
    missing = replicas[1].folder / "keys" / "logins.key"
    missing.unlink(missing_ok=True)
    with replicas[0].opened() as first, replicas[1].opened() as second:
        user = accounts.find_user(first.database.connection(), "admin")
        assert user is not None
        proposed = login_codes.propose(first, "admin")
        app = pyotp.TOTP(proposed.secret)
        login_codes.enrol(first, user["id"], "admin", sealed=proposed.sealed, code=app.at(int(time.time()) - 30))
        for other in (None, base64.b64encode(b"x" * 24)):
            if other is not None:
                missing.write_bytes(other)
            with pytest.raises(RequestDeniedError) as refused:
                login_codes.log_in(second, "admin", app.at(int(time.time()) + 30))
            assert refused.value.status == 503
            with pytest.raises(RequestDeniedError):
                login_codes.propose(second, "admin")
            assert missing.exists() is (other is not None)
            assert asyncio.run(health.Readiness().look(second))["logins"] != "ok"
        missing.unlink()
        missing.mkdir()  # it cannot be read
        assert asyncio.run(health.Readiness().look(second))["logins"] == "logins.key cannot be read"
        assert asyncio.run(health.Readiness().look(first))["logins"] == "ok"


def test_a_server_that_lost_its_lock_writes_nothing_while_another_is_alone(
    replicas: Replicas, postgresql: Server
) -> None:
    """Its connection was cut, and it has not noticed: neither `share --off` nor what comes after meets its writes."""
    with replicas[0].opened() as first, replicas[1].opened() as second, second.alone("serve", together=True):
        cut_lock(postgresql, second.database.name)
        with first.alone("migrate"), pytest.raises(DatabaseBusyError), second.database.writing():
            pass
        assert sharing.unshare(first)["shared"] is False
        with pytest.raises(DatabaseBusyError), second.database.writing():
            pass
        head = audit_head.read(first.database.connection())
        second.audit_log.write("late")
        assert audit_head.read(first.database.connection()) == head
        assert not second.audit_log.path.exists(), "no second audit log on another machine"
        assert first.audit_log.problems() == []


def test_what_is_due_is_signed_by_a_server_that_has_the_key(replicas: Replicas) -> None:
    """The one that signs the log may lack the other keys: then a timestamp would end, and withdrawals stay unsigned."""
    with replicas[0].opened() as first:
        application = app.build(first)
        first.leadership = first.database.leadership("test")
        assert not first.runs_maintenance, "another server signs the log"
        with first.database.writing() as db:
            db.execute("UPDATE trust_timestamp SET issued = '2001-01-01T00:00:00Z'")
        background_tasks.write(application, first)
        stamped = root_rows.timestamp(first.database.connection())
        assert stamped is not None and stamped[0] > "2020"
        assert withdrawals.feed(first.database.connection()) is not None


def join(replicas: Replicas, place: Path, source: Path, *more: str | Path) -> Done:
    """The folder of a third server, by the command; `more` is for the program itself."""
    words = ("--database", replicas.address, *more, "storage", "join", "--keys-from", source)
    return run_here("--dir", place, *words, check=False)


def test_a_further_server_gets_the_keys_that_the_keyring_names(replicas: Replicas, tmp_path: Path) -> None:
    """And no other: neither the root nor what lies beside it. The server then signs, and knows login codes."""
    first, place = replicas[0].folder / "keys", tmp_path / "third/hub"
    (first / "stranger.pem").write_text("another key")
    (first / "timestamp.pem").chmod(0o440)  # as a secret of Kubernetes is mounted
    done = join(replicas, place, first)
    assert done.returncode == 0 and "not there" not in done.stdout, done.stderr
    copied = {path.name for path in (place / "keys").iterdir()}
    assert copied == {
        "timestamp.pem", "advisories.pem", "log.pem", "log-mldsa.pem", "backup.pem", "logins.key"
    }  # fmt: skip
    assert all((place / "keys" / name).read_bytes() == (first / name).read_bytes() for name in copied)
    assert {path.stat().st_mode & 0o777 for path in (place / "keys").iterdir()} == {0o600}
    assert (place / "keys").stat().st_mode & 0o777 == 0o700
    third = RunningRegistry(place, replicas[0].url, "", "")
    with third.opened() as opened:
        assert asyncio.run(health.Readiness().look(opened))["logins"] == "ok"
        assert {opened.online_key(purpose) is not None for purpose in ("timestamp", "advisories")} == {True}


def test_keys_go_where_online_keys_says_and_replace_none(replicas: Replicas, tmp_path: Path) -> None:
    elsewhere = tmp_path / "vault"
    elsewhere.mkdir()
    (elsewhere / "log.pem").write_text("a key of another registry")
    done = join(replicas, tmp_path / "hub", replicas[0].folder / "keys", "--online-keys", elsewhere)
    assert done.returncode == 2 and "has other keys: log.pem" in done.stderr
    assert not (tmp_path / "hub").exists() and (elsewhere / "log.pem").read_text() == "a key of another registry"
    (elsewhere / "log.pem").unlink()
    assert join(replicas, tmp_path / "hub", replicas[0].folder / "keys", "--online-keys", elsewhere).returncode == 0
    assert (elsewhere / "log.pem").exists() and not list((tmp_path / "hub/keys").iterdir())


@pytest.mark.parametrize("name", ["timestamp.pem", "advisories.pem", "log.pem", "log-mldsa.pem", "logins.key"])
def test_keys_that_the_keyring_does_not_name_are_refused(replicas: Replicas, tmp_path: Path, name: str) -> None:
    """A folder of another registry, or one whose keys were retired. Nothing is made."""
    other = create(tmp_path / "other", name="Other", url="https://other.example.org", audit="optional")
    other.close()
    source = tmp_path / "keys"
    shutil.copytree(replicas[0].folder / "keys", source)
    if name == "logins.key":
        (source / name).write_bytes(b"x" * 32)
    else:
        shutil.copy(tmp_path / "other/keys" / name, source / name)
    done = join(replicas, tmp_path / "hub", source)
    assert done.returncode == 2 and f"not the keys of this registry's servers: {name}" in done.stderr
    assert not (tmp_path / "hub").exists()


@pytest.mark.parametrize("name", ["backup.pem", "timestamp.pem"])
def test_a_root_key_is_not_copied_under_another_name(replicas: Replicas, tmp_path: Path, name: str) -> None:
    source = tmp_path / "keys"
    shutil.copytree(replicas[0].folder / "keys", source)
    shutil.copy(source / "root.pem", source / name)
    done = join(replicas, tmp_path / "hub", source)
    assert done.returncode == 2 and name in done.stderr and not (tmp_path / "hub").exists()


def test_a_folder_without_keys_and_one_with_a_part_of_them(replicas: Replicas, tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.mkdir()
    shutil.copy(replicas[0].folder / "keys/root.pem", part)
    assert "has no key of a server" in join(replicas, tmp_path / "hub", part).stderr
    shutil.copy(replicas[0].folder / "keys/logins.key", part)
    done = join(replicas, tmp_path / "hub", part)
    assert done.returncode == 0 and "not there   timestamp.pem, advisories.pem, log.pem" in done.stdout
    assert [path.name for path in (tmp_path / "hub/keys").iterdir()] == ["logins.key"]


def cut_lock(postgresql: Server, name: str) -> None:
    """End every session that holds the right to serve a registry of this schema."""
    with postgresql.connect() as db:
        rows = db.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock'"
        ).fetchall()
    assert len(rows) == 1, name


def test_the_audit_log_goes_on_in_one_folder(replicas: Replicas) -> None:
    """After `share --off` the others lack its files, and a folder that was copied is behind once the copy is served."""
    replicas[0].ask("storage", "share", "--off")
    with pytest.raises(AssertionError, match="audit log of this registry is in another folder"):
        replicas[1].start()
    with pytest.raises(ConfigError, match="in another folder"), replicas[1].opened():
        pass
    assert not list(replicas[1].folder.glob("audit*")), "nothing was written there"
    serve_once(replicas[0])
    bring_files(replicas[0], replicas[1])
    serve_once(replicas[1])
    with pytest.raises(AssertionError, match="in another folder"):
        replicas[0].start()
    replicas[1].add_user("bea", namespace="radboud")
    assert replicas[1].ask("audit", "verify")["problems"] == []
    replicas[1].ask("storage", "share")
    for replica in replicas.servers:
        with replica.opened() as opened:
            events = [json.loads(line)["event"] for line in opened.audit_log.lines()]
            assert opened.audit_log.problems() == [] and "audit-log-cut" not in events
            assert events[-2:] == ["user-added", "shared"], events[-5:]


def test_after_a_recovery_the_audit_log_goes_on_where_it_was_settled(replicas: Replicas, postgresql: Server) -> None:
    """An earlier database names an id from before; without any folder's files `backup recovered` says so in the log."""
    replicas[0].ask("storage", "share", "--off")
    schema = replicas.address.rpartition("%3D")[2]
    with postgresql.connect() as db:
        asked = f"SELECT value FROM {schema}.setting WHERE name = 'audit_id'"
        before = db.execute(asked).fetchone()
        serve_once(replicas[0])
        assert before is not None and db.execute(asked).fetchone() != before
        db.execute(f"UPDATE {schema}.setting SET value = %s WHERE name = 'audit_id'", before)
    serve_once(replicas[0])
    replicas[1].ask("backup", "recovered", "--keep-tokens", "--keep-keyring")
    with replicas[1].opened() as opened:
        events = [json.loads(line)["event"] for line in opened.audit_log.lines() if line]
    assert events == ["audit-log-cut", "recovered"]
    with pytest.raises(ConfigError, match="in another folder"), replicas[0].opened():
        pass


def serve_once(replica: RunningRegistry) -> None:
    """Start a server and stop it."""
    replica.start()
    assert replica.stop() == 0


def bring_files(source: RunningRegistry, target: RunningRegistry) -> None:
    """What the refusal asks for."""
    for file in [*source.folder.glob("audit*.jsonl"), source.folder / "audit-ids"]:
        shutil.copy(file, target.folder)
