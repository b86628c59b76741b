"""A thief of the online keys counts far ahead; after new keys from the root every site goes on, and forgets nothing."""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from embhub.client.log import log_memory
from embhub.errors import EmbhubError
from embhub.formats import instants
from embhub.log import checkpoints, merkle, notes
from embhub.log.checkpoints import Checkpoint
from embhub.log.errors import MalformedLogError
from embhub.refusals import MalformedAdvisoriesError, MalformedKeyringError, RollbackError
from embhub.site.pins import trust_store
from embhub.site.signing import note_keys
from embhub.site.signing.keys import SigningKey
from embhub.trust import advisories, dsse, kept_advisories, root_keys
from embhub.trust import keyring as keyrings
from embhub.trust import timestamp as stamping
from embhub.trust.advisories import Advisories, Advisory
from tests.support.releases import ORIGIN, REGISTRY, ROOT, make_export, make_key, make_keyring

OLD, NEW = make_key("advisories before"), make_key("advisories after")
STAMP, STAMP2 = make_key("timestamp before"), make_key("timestamp after")
HIGHEST = 2**53 - 1
BYTES = "a" * 64


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path))
    return tmp_path


def withdrawal(digest: str = BYTES, **changes: Any) -> Advisory:
    facts: dict[str, Any] = {
        "scope": "bytes", "by": "operator", "namespace": "radboud", "repository": "radboud/one", "version": None,
        "digest": digest, "reason": "consent withdrawn", "published": "2026-11-20T10:00:00Z",
    }  # fmt: skip
    return advisories.new(**{**facts, **changes})


def export(
    version: int, number: int, *entries: Advisory, key: SigningKey = OLD, stamp: SigningKey = STAMP,
    issued: datetime | None = None, root: SigningKey = ROOT,
) -> bytes:  # fmt: skip
    """A registry's answer: keyring, advisories with this number, and a timestamp for both."""
    online = {"advisories": root_keys.named(key.public), "timestamp": root_keys.named(stamp.public)}
    shown = make_keyring(version=version, online={name: one.model_dump() for name, one in online.items()})
    listed = Advisories(ORIGIN, number, "2026-11-20T10:00:00Z", entries).sign(key)
    unstamped = replace(keyrings.parse_export(make_export(shown, root=root)), advisories=listed)
    return replace(unstamped, timestamp=stamped(unstamped, number, key=stamp, issued=issued)).to_bytes()


def stamped(
    shown: keyrings.TrustExport, number: int, *, key: SigningKey, issued: datetime | None
) -> dsse.Envelope:  # fmt: skip
    at = issued or datetime.now(UTC)
    assert shown.advisories is not None
    stated = stamping.Timestamp(
        registry=ORIGIN,
        keyring=stamping.CurrentKeyring(version=shown.claimed.version, sha256=shown.keyring.digest),
        advisories=stamping.CurrentAdvisories(
            number=number, sha256=hashlib.sha256(shown.advisories.payload).hexdigest()
        ),
        issued=instants.write(at),
        expires=instants.write(at + timedelta(days=7)),
    )
    return stamping.sign(stated, key=key)


def ahead(hours: float) -> int:
    return int(time.time() + hours * 3600)


def bound() -> list[str]:
    """Digests of what is withdrawn, by what is kept here."""
    listed = kept_advisories.opened(trust_store.load(REGISTRY))
    assert listed is not None
    return [entry.digest for entry in listed.entries if entry.withdrawn_on is None]


def test_the_highest_number_is_refused_when_it_comes_and_nothing_of_it_is_kept() -> None:
    trust_store.add(export(1, 5), fingerprint=ROOT.fingerprint)
    with pytest.raises(MalformedAdvisoriesError, match="ahead of the clock"):
        trust_store.refresh(REGISTRY, export(1, HIGHEST))
    with pytest.raises(MalformedAdvisoriesError, match="ahead of the clock"):
        trust_store.refresh(REGISTRY, export(1, ahead(25)))
    assert trust_store.refresh(REGISTRY, export(1, 6)).keyring.version == 1, "the honest registry goes on"


def test_a_new_pin_does_not_begin_with_such_a_number() -> None:
    with pytest.raises(MalformedAdvisoriesError, match="ahead of the clock"):
        trust_store.add(export(1, HIGHEST), fingerprint=ROOT.fingerprint)
    assert trust_store.addresses() == ()


def test_another_advisories_key_from_the_root_starts_a_new_count() -> None:
    trust_store.add(export(1, ahead(20)), fingerprint=ROOT.fingerprint)
    with pytest.raises(RollbackError, match="seen before"):
        trust_store.refresh(REGISTRY, export(1, ahead(0)))
    with pytest.raises(RollbackError, match="seen before"):
        trust_store.refresh(REGISTRY, export(2, ahead(0)))  # the same key counts on
    assert trust_store.refresh(REGISTRY, export(3, ahead(0), key=NEW)).keyring.version == 3
    with pytest.raises(RollbackError, match="seen before"):
        trust_store.refresh(REGISTRY, export(3, ahead(-1), key=NEW))


def test_only_the_root_starts_it() -> None:
    """Neither an older keyring with another key, nor one that the root did not sign."""
    trust_store.add(export(2, ahead(20)), fingerprint=ROOT.fingerprint)
    for made in (export(1, 7, key=NEW), export(2, 7, key=NEW), export(3, 7, key=NEW, root=make_key("a thief"))):
        with pytest.raises(EmbhubError):
            trust_store.refresh(REGISTRY, made)
    assert trust_store.load(REGISTRY).keyring.version == 2


def test_withdrawals_seen_before_bind_until_they_are_listed_or_lifted() -> None:
    first, second, third = withdrawal(), withdrawal("b" * 64), withdrawal("c" * 64)
    trust_store.add(export(1, 5, first, second, third), fingerprint=ROOT.fingerprint)
    trust_store.refresh(REGISTRY, export(2, 3, key=NEW))
    assert sorted(bound()) == ["a" * 64, "b" * 64, "c" * 64], "the new list names none of them"
    lifted = replace(first, withdrawn_on="2026-11-21T10:00:00Z")
    trust_store.refresh(REGISTRY, export(2, 4, lifted, replace(second, repository=None), key=NEW))
    assert sorted(bound()) == ["b" * 64, "c" * 64]
    trust_store.refresh(REGISTRY, export(2, 5, key=NEW))
    assert bound() == ["c" * 64], "what the new key listed once is its own to take out"
    trust_store.refresh(REGISTRY, export(3, 1, key=OLD))
    assert bound() == ["c" * 64], "and further changes of the key forget nothing either"
    trust_store.remove(REGISTRY)
    trust_store.add(export(3, 1, key=OLD), fingerprint=ROOT.fingerprint)
    assert bound() == [], "what a thief invented ends where the registry is pinned anew"


def test_an_earlier_timestamp_does_not_replace_a_later_one() -> None:
    shown, now = keyrings.parse_export(export(1, 5)), datetime.now(UTC)

    def issued(hours: int) -> bytes:
        stamp = stamped(shown, 5, key=STAMP, issued=now - timedelta(hours=hours))
        return replace(shown, timestamp=stamp).to_bytes()

    trust_store.add(issued(1), fingerprint=ROOT.fingerprint)
    kept = trust_store.load(REGISTRY).timestamp
    assert trust_store.refresh(REGISTRY, issued(30)).timestamp == kept
    assert trust_store.load(REGISTRY).timestamp == kept
    newest = trust_store.refresh(REGISTRY, issued(0)).timestamp
    assert newest is not None and kept is not None and newest.issued > kept.issued


def test_a_timestamp_of_2099_is_refused_when_it_comes() -> None:
    trust_store.add(export(1, 5), fingerprint=ROOT.fingerprint)
    with pytest.raises(MalformedKeyringError, match="ahead of the clock"):
        trust_store.refresh(REGISTRY, export(1, 5, issued=datetime(2099, 1, 1, tzinfo=UTC)))
    stamp = trust_store.refresh(REGISTRY, export(1, 5)).timestamp
    assert stamp is not None and not stamp.issued.startswith("2099")


def test_a_timestamp_of_2099_that_is_kept_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock here was wrong when it came."""
    with monkeypatch.context() as patched:
        patched.setattr(trust_store, "_now", lambda: datetime(2099, 6, 1, tzinfo=UTC))
        trust_store.add(export(1, 5, issued=datetime(2099, 1, 1, tzinfo=UTC)), fingerprint=ROOT.fingerprint)
    for shown in (export(1, 5), export(2, 5, stamp=STAMP2)):
        stamp = trust_store.refresh(REGISTRY, shown).timestamp
        assert stamp is not None and not stamp.issued.startswith("2099")


def test_a_checkpoint_of_a_stolen_log_key_ends_with_another_key(home: Path) -> None:
    """The memory of a log is that of its key: the next keyring names another one, which begins anew."""
    stolen, new = (notes.signer(note_keys.make(home / name), ORIGIN) for name in ("stolen.pem", "new.pem"))
    thiefs = checkpoints.sign(Checkpoint(ORIGIN, 1_000_000, b"\x01" * 32), by=stolen)
    log_memory.advance(stolen.public, thiefs, prove=None)
    honest = Checkpoint(ORIGIN, 1, merkle.leaf_hash(b"entry"))
    again = checkpoints.sign(honest, by=stolen)
    with pytest.raises(MalformedLogError):
        log_memory.advance(stolen.public, again, prove=lambda first, second: ())
    assert log_memory.advance(new.public, checkpoints.sign(honest, by=new), prove=None) is None
    assert log_memory.recall(new.public) is not None


def test_a_checkpoint_of_more_entries_than_there_were_seconds_is_refused_when_it_comes(home: Path) -> None:
    stolen = notes.signer(note_keys.make(home / "stolen.pem"), ORIGIN)
    for size in (2**62, int(time.time()) + 90_000):
        thiefs = checkpoints.sign(Checkpoint(ORIGIN, size, b"\x01" * 32), by=stolen)
        with pytest.raises(MalformedLogError, match="entries"):
            log_memory.advance(stolen.public, thiefs, prove=None)
    assert log_memory.recall(stolen.public) is None
