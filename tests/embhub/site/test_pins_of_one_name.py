"""Two pins whose keyrings give the same host name: one registry at two addresses, or one that calls itself another."""

from __future__ import annotations

from pathlib import Path

import pytest

from embhub.client.pulling import pull as pulling
from embhub.client.trusted import roots
from embhub.errors import ConfigError
from embhub.refusals import UnknownSignerError, WrongRootError
from embhub.site.memory import seen
from embhub.site.pins import trust_store
from embhub.site.signing.keys import SigningKey
from embhub.trust import keyring as keyrings
from embhub.trust import root_keys
from embhub.trust.keyring import Keyring
from embhub.trust.root_keys import RootChange
from tests.support.hostile import serve
from tests.support.releases import REPOSITORY, ROOT, SITE, STRANGER, make_export, make_key, make_keyring, make_release
from tests.support.releases import member as make_member

NAME, ORIGIN = "https://hub.example.org", "hub.example.org"
MIRROR, OTHER = "https://mirror.example.net", "https://other.example.net"
SECOND, THIEF = make_key("second root"), make_key("root of another registry")
REAL = make_keyring(registry=NAME)
THEIRS = [make_member("radboud", [(STRANGER, "publish")])]
SAME_NAMES = (NAME, "https://HUB.example.org:8443", "http://hub.example.org.:80")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pin(keyring: Keyring, address: str, *, root: SigningKey = ROOT) -> None:
    trust_store.add(make_export(keyring, root=root), fingerprint=root.fingerprint, address=address)


def moved(keyring: Keyring, *, signers: tuple[SigningKey, SigningKey] = (ROOT, SECOND)) -> bytes:
    """The export after the root changed from ROOT to SECOND; the keys in `signers` sign the change."""
    before, after = root_keys.one_key(ROOT.public), root_keys.one_key(SECOND.public)
    change = RootChange(registry=NAME, number=1, issued="2026-11-19T00:00:00Z", before=before, after=after)
    document = root_keys.unsigned_change(change)
    for key in signers:
        document = document.signed_by(key)
    ring = keyring.model_copy(update={"root": after})
    return keyrings.TrustExport(NAME, keyrings.sign_keyring(ring, root_key=SECOND), roots=(document,)).to_bytes()


def pin_as_before(home: Path, keyring: Keyring, address: str, *, root: SigningKey) -> None:
    """Put a pin beside those that are there, which `trust add` refuses to do."""
    folder = home / "home/config/trust"
    aside = folder.with_name("aside")
    folder.rename(aside)
    pin(keyring, address, root=root)
    for file in aside.iterdir():
        file.rename(folder / file.name)


@pytest.mark.parametrize("name", SAME_NAMES)
def test_a_registry_that_calls_itself_a_pinned_one_is_not_pinned(name: str) -> None:
    pin(REAL, NAME)
    with pytest.raises(WrongRootError) as caught:
        pin(make_keyring(registry=name, members=THEIRS), OTHER, root=THIEF)
    assert OTHER in caught.value.message and NAME in caught.value.message and ROOT.fingerprint in caught.value.message
    assert f"embhub trust remove {NAME}" in caught.value.hint
    assert trust_store.addresses() == (NAME,)
    pin(make_keyring(registry=OTHER, members=THEIRS), OTHER, root=THIEF)  # under a name of its own it may be


def test_nothing_that_it_signed_counts_and_its_keys_are_not_confirmed(home: Path) -> None:
    with serve() as good, serve() as other:
        good.export, good.files = make_export(REAL), make_release(registry=ORIGIN).files
        other.export = make_export(make_keyring(registry=NAME, members=THEIRS), root=THIEF)
        other.files = make_release(key=STRANGER, registry=ORIGIN, version="999999.0.0").files
        roots.add_root(good.url, fingerprint=ROOT.fingerprint)
        with pytest.raises(WrongRootError):
            roots.add_root(other.url, fingerprint=THIEF.fingerprint)
        change = seen.signer_change(NAME, REPOSITORY, fingerprint=STRANGER.fingerprint)
        assert change is not None, "nobody confirmed the key"
        with pytest.raises(WrongRootError):
            pulling.pull(REPOSITORY, registry=other.url, out="other")
        assert pulling.pull(REPOSITORY, registry=good.url, out="good").signer.registry == NAME


def test_one_registry_may_be_pinned_at_two_addresses() -> None:
    pin(REAL, NAME)
    pin(make_keyring(registry=NAME, version=2), MIRROR)
    assert trust_store.refresh(NAME, make_export(make_keyring(registry=NAME, version=2))).keyring.version == 2
    assert {trust.registry for trust in trust_store.load_all()} == {NAME} and len(trust_store.load_all()) == 2


def test_a_change_of_root_reaches_one_address_after_the_other() -> None:
    pin(REAL, NAME)
    pin(REAL, MIRROR)
    newer = make_keyring(registry=NAME, version=2)
    assert trust_store.refresh(NAME, moved(newer)).root_fingerprint == SECOND.fingerprint
    assert {row.registry: row.root_fingerprint for row in trust_store.list_roots()}[MIRROR] == ROOT.fingerprint
    assert trust_store.load(MIRROR).root_fingerprint == SECOND.fingerprint, "it was not asked yet, and cannot object"
    assert len(trust_store.load_all()) == 2
    trust_store.refresh(MIRROR, make_export(REAL))  # a copy that is late
    trust_store.add(make_export(REAL), fingerprint=ROOT.fingerprint, address=OTHER)  # as is this one
    assert trust_store.refresh(MIRROR, moved(newer)).root_fingerprint == SECOND.fingerprint


def test_a_change_of_root_that_the_pinned_root_did_not_sign_leads_nowhere() -> None:
    pin(REAL, NAME)
    with pytest.raises(WrongRootError, match="another root"):
        trust_store.add(moved(REAL, signers=(SECOND, THIEF)), fingerprint=SECOND.fingerprint, address=OTHER)


def test_two_such_pins_are_not_renewed(home: Path) -> None:
    pin(REAL, NAME)
    pin_as_before(home, make_keyring(registry=NAME, members=THEIRS), OTHER, root=THIEF)
    with pytest.raises(WrongRootError, match="another root"):
        trust_store.refresh(OTHER, make_export(make_keyring(registry=NAME, members=THEIRS, version=2), root=THIEF))


def test_two_such_pins_are_refused_until_one_is_removed(home: Path) -> None:
    pin(REAL, NAME)
    pin(make_keyring(registry=MIRROR), MIRROR)
    pin_as_before(home, make_keyring(registry=NAME, members=THEIRS), OTHER, root=THIEF)
    make_release(key=STRANGER, registry=ORIGIN).to_folder(home / "forged")
    make_release(key=SITE, registry=ORIGIN).to_folder(home / "real")
    for folder in ("forged", "real"):
        with pytest.raises(ConfigError) as caught:
            pulling.verify_path(home / folder)
        assert NAME in caught.value.message and OTHER in caught.value.message
        assert ROOT.fingerprint in caught.value.message and THIEF.fingerprint in caught.value.message
        assert "embhub trust remove" in caught.value.hint
    for address in (NAME, OTHER):
        with pytest.raises(ConfigError, match="another root"):
            trust_store.load(address)
    assert trust_store.load(MIRROR).registry == MIRROR, "the others are not concerned"
    assert {row["registry"] for row in roots.list_roots()} == {NAME, MIRROR, OTHER}, "a person has to see them"
    roots.remove_root(OTHER)
    assert pulling.verify_path(home / "real").signer.registry == NAME
    with pytest.raises(UnknownSignerError):
        pulling.verify_path(home / "forged")


def test_a_person_is_shown_how_the_registry_calls_itself() -> None:
    asked: list[str] = []

    def agree(registry: str, fingerprint: str) -> bool:
        asked.append(registry)
        return True

    with serve() as hub:
        hub.export = make_export(REAL)
        said = roots.add_root(hub.url, confirm=agree)
        assert asked == [f"{hub.url}, which calls itself {NAME},"] and said["name"] == NAME
        trust_store.remove(hub.url)
        hub.export = make_export(make_keyring(registry=hub.url))
        assert "name" not in roots.add_root(hub.url, confirm=agree)
        assert asked[1:] == [hub.url]
