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
from embhub_registry.database import DatabaseBusyError, accounts, audit_head, root_rows, withdrawals
from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.operation import background_tasks, health, sharing
from embhub_registry.people import login_codes
from embhub_registry.people.login_codes import WrongCodeError
from tests.support.postgres import Server
from tests.support.replicas import Replicas, make_replicas
from tests.support.servers import RunningRegistry

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
        assert not first.keeps_house, "another server signs the log"
        with first.database.writing() as db:
            db.execute("UPDATE trust_timestamp SET issued = '2001-01-01T00:00:00Z'")
        background_tasks.write(application, first)
        stamped = root_rows.timestamp(first.database.connection())
        assert stamped is not None and stamped[0] > "2020"
        assert withdrawals.feed(first.database.connection()) is not None


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
