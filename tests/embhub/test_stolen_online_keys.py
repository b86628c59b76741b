"""A thief has the server's online keys for a day. Afterwards the operator makes new ones, and every site goes on."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from embhub.client.pulling import pull as pulling
from embhub.client.trusted import roots
from embhub.formats import instants
from embhub.refusals import RevokedKeyError, RollbackError
from embhub.site.pins import trust_store
from embhub.site.signing import keys
from embhub.trust import keyring as keyrings
from embhub.trust import timestamp as stamping
from embhub.trust.advisories import Advisories
from embhub_registry.repositories import advisories
from tests.support import hostile
from tests.support.hostile import Handler, Middleman
from tests.support.releases import ORIGIN, REPOSITORY, SITE, make_release
from tests.support.servers import RunningRegistry, running_registry
from tests.support.sites import Site

TRUST = "/embhub/v1/trust"
ONLINE = ("timestamp", "advisories", "log", "log-mldsa")


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path / "place") as started:
        started.add_key(SITE, namespace="radboud")
        from embhub.client.wire.hub import Hub

        Hub(started.url, token=started.add_user("alice", namespace="radboud")).push(make_release(), REPOSITORY)
        yield started


def forged(registry: RunningRegistry, *, ahead: timedelta) -> bytes:
    """What a thief of both online keys answers: nothing is withdrawn, under a number that nothing honest follows."""
    folder = registry.folder / "keys"
    stamp, listing = (keys.load(name, folder=folder) for name in ("timestamp", "advisories"))
    document = json.loads(registry.get(TRUST).body)
    export = keyrings.parse_export(registry.get(TRUST).body)
    number = int(time.time() + ahead.total_seconds())
    envelope = Advisories(ORIGIN, number, instants.write(datetime.now(UTC)), ()).sign(listing)
    stated = stamping.Timestamp(
        registry=ORIGIN,
        keyring=stamping.CurrentKeyring(version=export.claimed.version, sha256=export.keyring.digest),
        advisories=stamping.CurrentAdvisories(number=number, sha256=_sha256(envelope.payload)),
        issued=instants.write(datetime.now(UTC)), expires=instants.write(datetime.now(UTC) + timedelta(days=7)),
    )  # fmt: skip
    signed = stamping.sign(stated, key=stamp)
    return json.dumps({**document, "advisories": envelope.to_json(), "timestamp": signed.to_json()}).encode()


def _sha256(data: bytes) -> str:
    import hashlib

    return hashlib.sha256(data).hexdigest()


def send(body: bytes, handler: Handler) -> None:
    handler.send(200, body)


def test_one_pull_during_the_theft_bricks_no_site(
    registry: RunningRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The documented recovery, as docs/how-to/keep-the-root-offline.md has it."""
    with hostile.stand_between(registry.url) as middle:
        site = Site(tmp_path / "site", middle.url).enter(monkeypatch)
        roots.add_root(middle.url, fingerprint=registry.root_fingerprint)
        pulling.pull(REPOSITORY, out=tmp_path / "before")
        _steal(registry, middle, site)
        recover(registry)
        assert roots.refresh_roots()[0]["keyring"].startswith("version 1")
        registry.run("key", "revoke", SITE.fingerprint, "--reason", "stolen")
        roots.refresh_roots()
        with pytest.raises(RevokedKeyError):
            pulling.verify_path(tmp_path / "before")
        assert SITE.fingerprint in trust_store.load(middle.url).keyring.stolen()


def _steal(registry: RunningRegistry, middle: Middleman, site: Site) -> None:
    middle.lies = {TRUST: partial(send, forged(registry, ahead=timedelta(hours=20)))}
    pulling.pull(REPOSITORY, out=site.folder / "meanwhile")
    middle.lies = {}
    with pytest.raises(RollbackError, match="seen before"):
        roots.refresh_roots()


def recover(registry: RunningRegistry) -> None:
    registry.stop()
    for name in ONLINE:
        for path in (registry.folder / "keys").glob(f"{name}.*"):
            path.unlink()
    registry.run("backup", "recovered")
    registry.start()


def test_a_pull_after_the_recovery_reads_the_new_log(
    registry: RunningRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Site(tmp_path / "site", registry.url).enter(monkeypatch)
    roots.add_root(registry.url, fingerprint=registry.root_fingerprint)
    before = trust_store.load(registry.url).keyring
    pulling.pull(REPOSITORY, out=tmp_path / "before")
    recover(registry)
    found = pulling.pull(REPOSITORY, out=tmp_path / "after")
    after = trust_store.load(registry.url).keyring
    assert after.log_key != before.log_key and after.online != before.online
    assert ("log", "ok") in {(one.check, one.outcome) for one in found.findings}


def test_a_number_that_a_thief_left_in_the_database_is_not_gone_on_from(registry: RunningRegistry) -> None:
    with registry.opened() as opened, opened.database.writing() as db:
        db.execute("UPDATE advisory_feed SET number = ?, content = 'old'", (2**53 - 1,))
    with registry.opened() as opened:
        envelope = advisories.current_envelope(opened)
    assert envelope is not None
    assert abs(json.loads(base64.b64decode(envelope.to_json()["payload"]))["number"] - time.time()) < 60
