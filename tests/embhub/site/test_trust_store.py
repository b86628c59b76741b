"""Pins on disk: the first use is a person's decision, everything after is checked against it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from embhub import durable
from embhub.client.trusted import trust_changes
from embhub.errors import ConfigError
from embhub.refusals import BadSignatureError, MalformedKeyringError, ReleaseRefusedError, RollbackError, WrongRootError
from embhub.site.pins import trust_store
from embhub.trust import keyring as keyrings
from tests.support.releases import FAR, OTHER_SITE, REGISTRY, ROOT, STRANGER, make_export, make_keyring, member


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path))
    return tmp_path / "config/trust"


def pin_file(home: Path) -> Path:
    (path,) = home.glob("*.json")
    return path


def test_pin_list_load_remove(home: Path) -> None:
    assert trust_store.list_roots() == []
    added = trust_store.add(make_export(make_keyring(version=2)), fingerprint=ROOT.fingerprint)
    assert trust_store.load(REGISTRY).keyring == added.keyring
    assert trust_store.load(REGISTRY + "/").keyring == added.keyring
    assert trust_store.list_roots() == [trust_store.Root(REGISTRY, ROOT.fingerprint, 2, "2026-11-19T00:00:00Z", 3, FAR)]
    assert pin_file(home).stat().st_mode & 0o077 == 0
    trust_store.remove(REGISTRY)
    assert trust_store.load_all() == []
    with pytest.raises(ConfigError, match="no root key is pinned"):
        trust_store.load(REGISTRY)
    with pytest.raises(ConfigError, match="no root key is pinned"):
        trust_store.remove(REGISTRY)


def test_fingerprint_must_be_the_exports(home: Path) -> None:
    with pytest.raises(WrongRootError):
        trust_store.add(make_export(), fingerprint=STRANGER.fingerprint)
    assert not list(home.glob("*.json"))


def test_registry_behind_another_address() -> None:
    trust_store.add(make_export(), fingerprint=ROOT.fingerprint, address="http://127.0.0.1:8642/")
    assert trust_store.load("http://127.0.0.1:8642").registry == REGISTRY
    assert [root.registry for root in trust_store.list_roots()] == ["http://127.0.0.1:8642"]


def test_another_root_does_not_replace_the_pinned_one() -> None:
    trust_store.add(make_export(), fingerprint=ROOT.fingerprint)
    with pytest.raises(WrongRootError, match="another root key is pinned"):
        trust_store.add(make_export(root=STRANGER), fingerprint=STRANGER.fingerprint)
    with pytest.raises(WrongRootError):
        trust_store.refresh(REGISTRY, make_export(make_keyring(version=5), root=STRANGER))
    assert trust_store.load(REGISTRY).root_fingerprint == ROOT.fingerprint


def test_refresh_moves_forward_only() -> None:
    trust_store.add(make_export(make_keyring(version=2)), fingerprint=ROOT.fingerprint)
    assert trust_store.refresh(REGISTRY, make_export(make_keyring(version=4))).keyring.version == 4
    for again in (trust_store.refresh, lambda _, export: trust_store.add(export, fingerprint=ROOT.fingerprint)):
        with pytest.raises(RollbackError):
            again(REGISTRY, make_export(make_keyring(version=3)))
    assert trust_store.load(REGISTRY).keyring.version == 4


def test_a_keyring_that_another_process_stored_meanwhile_is_not_replaced_by_an_older_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A pull that began before a revocation ends after another one that learned of it."""
    trust_store.add(make_export(make_keyring(version=2)), fingerprint=ROOT.fingerprint)
    locked = durable.locked

    @contextmanager
    def late(path: Path) -> Iterator[None]:
        monkeypatch.setattr(trust_store, "locked", locked)
        trust_store.refresh(REGISTRY, make_export(make_keyring(version=5)))  # between reading and the lock
        with locked(path):
            yield

    monkeypatch.setattr(trust_store, "locked", late)
    with pytest.raises(RollbackError):
        trust_store.refresh(REGISTRY, make_export(make_keyring(version=4)))
    assert trust_store.load(REGISTRY).keyring.version == 5


def test_nobody_agrees_to_a_keyring_that_came_while_they_looked_at_another() -> None:
    trust_store.add(make_export(make_keyring(version=2)), fingerprint=ROOT.fingerprint)
    changed = [member("radboud", [(OTHER_SITE, "publish"), (STRANGER, "publish")])]
    opened = trust_store.refresh(REGISTRY, make_export(make_keyring(version=3, members=changed)))

    def telephone(*_: object) -> bool:
        trust_store.refresh(REGISTRY, make_export(make_keyring(version=4, members=changed)))
        return True

    with pytest.raises(ConfigError, match="changed while you looked at it"):
        trust_changes.settle(REGISTRY, opened, agree=telephone)
    kept = trust_store.confirmed(REGISTRY)
    assert kept is not None and kept.version == 2


def test_a_refresh_checks_the_signatures_of_each_keyring_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what came, and of what counts then; what was kept was checked before."""
    second = make_export(make_keyring(version=2))
    trust_store.add(make_export(), fingerprint=ROOT.fingerprint)
    opened, whole = list[str](), keyrings.open_export

    def count(export: keyrings.TrustExport, **demands: Any) -> keyrings.Trust:
        opened.append(export.keyring.digest)
        return whole(export, **demands)

    monkeypatch.setattr(keyrings, "open_export", count)
    trust_store.refresh(REGISTRY, second)
    for _ in range(3):
        trust_store.load(REGISTRY)
    assert opened == 2 * [keyrings.parse_export(second).keyring.digest]


def test_same_version_again_is_fine_and_other_content_under_it_is_not() -> None:
    trust_store.add(make_export(), fingerprint=ROOT.fingerprint)
    assert trust_store.refresh(REGISTRY, make_export())
    fork = make_keyring(members=[member("radboud", [(OTHER_SITE, "publish")])])
    with pytest.raises(RollbackError, match="two different keyrings"):
        trust_store.refresh(REGISTRY, make_export(fork))


def test_refresh_needs_a_pin() -> None:
    with pytest.raises(ConfigError, match="no root key is pinned"):
        trust_store.refresh(REGISTRY, make_export())


def test_keyring_of_another_registry_under_this_pin() -> None:
    trust_store.add(make_export(), fingerprint=ROOT.fingerprint)
    other = make_export(make_keyring(version=2, registry="https://other.example.org"))
    with pytest.raises(MalformedKeyringError, match="before it was that of"):
        trust_store.refresh(REGISTRY, other)
    with pytest.raises(MalformedKeyringError, match="not of"):
        trust_store.refresh(REGISTRY, other.replace(b"https://other.example.org", REGISTRY.encode()))


def test_edited_pin_is_noticed(home: Path) -> None:
    trust_store.add(make_export(), fingerprint=ROOT.fingerprint)
    path = pin_file(home)
    document = json.loads(path.read_text())
    export = json.loads(document["export"])
    export["keyring"]["signatures"][0]["sig"] = json.loads(make_export(root=STRANGER))["keyring"]["signatures"][0][
        "sig"
    ]
    path.write_text(json.dumps({**document, "export": json.dumps(export)}))
    with pytest.raises(BadSignatureError):
        trust_store.load(REGISTRY)
    path.write_text(json.dumps({**document, "root_fingerprint": STRANGER.fingerprint}))
    with pytest.raises(ReleaseRefusedError):
        trust_store.load_all()


def test_older_export_put_back_on_disk_is_noticed(home: Path) -> None:
    trust_store.add(make_export(make_keyring(version=7)), fingerprint=ROOT.fingerprint)
    path = pin_file(home)
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "export": make_export(make_keyring(version=6)).decode()}))
    with pytest.raises(RollbackError):
        trust_store.load(REGISTRY)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"schema": "embhub.pin/2"}', '{"schema": "embhub.pin/3"}', "\udcff"])
def test_damaged_pin(home: Path, text: str) -> None:
    trust_store.add(make_export(), fingerprint=ROOT.fingerprint)
    pin_file(home).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError, match="damaged"):
        trust_store.load(REGISTRY)


def test_pin_under_another_name_is_noticed(home: Path) -> None:
    trust_store.add(make_export(), fingerprint=ROOT.fingerprint)
    pin_file(home).rename(home / "x.json")
    with pytest.raises(ConfigError, match="not the pin"):
        trust_store.load_all()


def test_a_revoked_key_that_comes_back_is_refused() -> None:
    revoked = [{"fingerprint": OTHER_SITE.fingerprint, "date": "2026-11-20T00:00:00Z", "reason": "stolen"}]
    trust_store.add(make_export(make_keyring(version=2, revoked=revoked)), fingerprint=ROOT.fingerprint)
    with pytest.raises(RollbackError, match="revoked or removed"):
        trust_store.refresh(REGISTRY, make_export(make_keyring(version=3)))
    assert trust_store.load(REGISTRY).keyring.version == 2
    trust_store.refresh(REGISTRY, make_export(make_keyring(version=4, revoked=revoked)))
