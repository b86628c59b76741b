"""A root that was replaced speaks for its registry nowhere, once this site followed the change at one address."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embhub.client.member import doctor
from embhub.client.pulling import pull as pulling
from embhub.client.trusted import roots, trust_changes
from embhub.errors import ConfigError, EmbhubError
from embhub.refusals import RollbackError, UnknownSignerError, WrongRootError
from embhub.site.memory import seen
from embhub.site.pins import trust_store
from embhub.site.signing.keys import SigningKey
from embhub.trust import keyring as keyrings
from embhub.trust import root_keys
from embhub.trust.advisories import Advisories
from embhub.trust.dsse import Envelope
from embhub.trust.keyring import Keyring
from embhub.trust.multisig import SignedDocument
from embhub.trust.root_keys import RootChange
from tests.support.hostile import serve
from tests.support.quick import examples
from tests.support.releases import REPOSITORY, ROOT, SITE, STRANGER, make_export, make_key, make_keyring, make_release
from tests.support.releases import member as make_member

NAME, ORIGIN = "https://hub.example.org", "hub.example.org"
MIRROR, OTHER = "https://mirror.example.net", "https://other.example.net"
SECOND, THIRD, THIEF = make_key("second root"), make_key("third root"), make_key("root of a thief")
FIRST = make_keyring(registry=NAME)
NEWER = make_keyring(registry=NAME, version=2)
THEIRS = [make_member("radboud", [(STRANGER, "publish")])]
REVOKED = [{"fingerprint": SITE.fingerprint, "date": "2026-11-20T00:00:00Z", "reason": "stolen"}]
FORGED = make_release(key=STRANGER, registry=ORIGIN)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pin(address: str, export: bytes | None = None, *, root: SigningKey = ROOT) -> None:
    trust_store.add(export or make_export(FIRST), fingerprint=root.fingerprint, address=address)


def moved(keyring: Keyring = NEWER, *, path: tuple[SigningKey, ...] = (ROOT, SECOND)) -> bytes:
    """The export after the root changed from each key of `path` to the next one."""
    changes: list[SignedDocument] = []
    for number, (before, after) in enumerate(pairwise(path), 1):
        change = RootChange(registry=NAME, number=number, issued="2026-11-19T00:00:00Z",
                            before=root_keys.one_key(before.public), after=root_keys.one_key(after.public))  # fmt: skip
        changes.append(root_keys.unsigned_change(change).signed_by(before).signed_by(after))
    ring = keyring.model_copy(update={"root": root_keys.one_key(path[-1].public)})
    signed = keyrings.sign_keyring(ring, root_key=path[-1])
    return keyrings.TrustExport(NAME, signed, roots=tuple(changes)).to_bytes()


def by_the_old_root(version: int = 7) -> bytes:
    """What a thief of the root that was replaced can sign."""
    return make_export(make_keyring(registry=NAME, version=version, members=THEIRS), root=ROOT)


def _file(export: bytes) -> str:
    path = Path("export.json")
    path.write_bytes(export)
    return str(path)


def refuse_forged() -> None:
    with pytest.raises(UnknownSignerError):
        pulling.verify_release(FORGED, target="forged")


def shown() -> dict[str, tuple[str, int]]:
    return {row.registry: (row.root_fingerprint, row.version) for row in trust_store.list_roots()}


def test_a_replaced_root_brings_no_new_keyring_at_another_address() -> None:
    pin(NAME)
    pin(MIRROR)
    trust_store.refresh(NAME, moved())
    for version in (1, 2, 7):
        with pytest.raises((WrongRootError, RollbackError)):
            trust_store.refresh(MIRROR, by_the_old_root(version))
    with pytest.raises(WrongRootError, match="was replaced") as caught:
        trust_store.refresh(MIRROR, by_the_old_root())
    for part in (MIRROR, NAME, ROOT.fingerprint, SECOND.fingerprint):
        assert part in caught.value.message
    assert shown() == {NAME: (SECOND.fingerprint, 2), MIRROR: (ROOT.fingerprint, 1)}
    refuse_forged()


def test_a_replaced_root_is_not_pinned_at_a_new_address() -> None:
    pin(NAME)
    trust_store.refresh(NAME, moved())
    for export in (by_the_old_root(), make_export(FIRST)):  # nothing here remembers whether the second was seen
        with pytest.raises(WrongRootError, match="was replaced"):
            pin(OTHER, export)
    assert trust_store.addresses() == (NAME,)
    pin(OTHER, moved())  # by the fingerprint of the old root, from which the change leads on
    assert trust_store.load(OTHER).root_fingerprint == SECOND.fingerprint
    refuse_forged()


def test_a_root_that_was_replaced_before_it_was_pinned_is_known_as_such() -> None:
    pin(NAME, moved(), root=SECOND)
    with pytest.raises(WrongRootError, match="was replaced"):
        pin(MIRROR, by_the_old_root())


def test_what_the_old_root_signed_before_the_change_vouches_for_nothing_after_it() -> None:
    pin(NAME)
    pin(MIRROR)
    trust_store.refresh(MIRROR, by_the_old_root())  # the thief was quicker
    assert pulling.verify_release(FORGED, target="forged").signer.registry == NAME
    trust_store.refresh(NAME, moved())
    refuse_forged()
    assert trust_store.load(MIRROR).lookup(STRANGER.fingerprint) is None
    assert shown()[MIRROR] == (ROOT.fingerprint, 7), "a person sees what the address showed"


def test_a_late_mirror_is_asked_and_the_newest_keyring_decides() -> None:
    with serve() as mirror:
        mirror.export, mirror.files = make_export(FIRST), make_release(registry=ORIGIN).files
        pin(NAME)
        roots.add_root(mirror.url, fingerprint=ROOT.fingerprint)
        trust_store.refresh(NAME, moved())
        found = pulling.pull(REPOSITORY, registry=mirror.url, out="real")
        (said,) = (one for one in found.findings if one.check == "root")
        assert said.outcome == "warning" and f"still shows the keyring of the root {ROOT.fingerprint}" in said.text
        assert found.keyring == 2
        mirror.files = FORGED.files
        with pytest.raises(UnknownSignerError):
            pulling.pull(REPOSITORY, registry=mirror.url, out="forged")
        mirror.export = by_the_old_root()
        with pytest.raises(WrongRootError, match="was replaced"):
            pulling.pull(REPOSITORY, registry=mirror.url, out="forged")
        mirror.export, mirror.files = moved(), make_release(registry=ORIGIN).files
        found = pulling.pull(REPOSITORY, registry=mirror.url, out="again")
        (said,) = (one for one in found.findings if one.check == "root")
        assert "the pin moved with it" in said.text and shown()[mirror.url] == (SECOND.fingerprint, 2)


def test_a_late_copy_that_is_not_pinned_is_late_and_no_forgery() -> None:
    with serve() as copy:
        copy.files = make_release(registry=ORIGIN).files
        pin(NAME)
        trust_store.refresh(NAME, moved())
        for export in (make_export(FIRST), by_the_old_root()):
            copy.export = export
            found = pulling.pull(REPOSITORY, registry=copy.url, out=f"real-{len(export)}")
            (said,) = (one for one in found.findings if one.check == "keyring")
            assert said.outcome == "warning" and "older state" in said.text and found.keyring == 2
        copy.files = FORGED.files
        with pytest.raises(UnknownSignerError):
            pulling.pull(REPOSITORY, registry=copy.url, out="forged")
        copy.export = make_export(FIRST, root=THIEF)
        with pytest.raises(WrongRootError):
            pulling.pull(REPOSITORY, registry=copy.url, out="forged")


@pytest.mark.parametrize("order", [(NAME, MIRROR), (MIRROR, NAME)])
def test_the_change_arrives_at_one_address_after_the_other(order: tuple[str, str]) -> None:
    pin(NAME)
    pin(MIRROR)
    for address in order:
        assert trust_store.refresh(address, moved()).passed == (ROOT.fingerprint,)
        assert {trust.root_fingerprint for trust in trust_store.load_all()} == {SECOND.fingerprint}
    assert set(shown().values()) == {(SECOND.fingerprint, 2)}


def test_two_changes_arrive_at_one_address_after_the_other() -> None:
    third = moved(make_keyring(registry=NAME, version=3), path=(ROOT, SECOND, THIRD))
    for address in (NAME, MIRROR, OTHER):
        pin(address)
    trust_store.refresh(MIRROR, moved())
    assert trust_store.load(NAME).root_fingerprint == SECOND.fingerprint
    assert trust_store.refresh(NAME, third).passed == (ROOT.fingerprint, SECOND.fingerprint)
    assert {trust.root_fingerprint for trust in trust_store.load_all()} == {THIRD.fingerprint}
    assert trust_store.refresh(MIRROR, moved()).root_fingerprint == THIRD.fingerprint, "late, with what was seen"
    assert trust_store.refresh(OTHER, moved()).root_fingerprint == THIRD.fingerprint, "late, with what another showed"
    with pytest.raises(WrongRootError, match="was replaced"):
        trust_store.refresh(MIRROR, moved(make_keyring(registry=NAME, version=4)))
    assert trust_store.refresh(OTHER, third).passed == (SECOND.fingerprint,)


def test_the_old_root_names_no_other_successor() -> None:
    pin(NAME)
    pin(MIRROR)
    trust_store.refresh(NAME, moved())
    with pytest.raises(WrongRootError):
        trust_store.refresh(MIRROR, moved(make_keyring(registry=NAME, version=9, members=THEIRS), path=(ROOT, THIEF)))
    with pytest.raises(WrongRootError):
        pin(OTHER, moved(make_keyring(registry=NAME, version=9, members=THEIRS), path=(ROOT, THIEF)))
    refuse_forged()


def test_what_a_late_address_adds_to_a_known_keyring_is_not_taken() -> None:
    pin(NAME)
    pin(MIRROR)
    trust_store.refresh(NAME, moved())
    before = {path: path.read_bytes() for path in Path("home/config/trust").iterdir()}
    export = keyrings.parse_export(make_export(FIRST))
    changes = keyrings.parse_export(moved(path=(THIEF, STRANGER))).roots
    padded = keyrings.TrustExport(NAME, export.keyring, roots=changes).to_bytes()
    assert trust_store.refresh(MIRROR, padded).root_fingerprint == SECOND.fingerprint
    assert {path: path.read_bytes() for path in Path("home/config/trust").iterdir()} == before


def test_a_change_lifts_no_revocation_that_another_address_showed() -> None:
    pin(NAME)
    pin(MIRROR, make_export(make_keyring(registry=NAME, revoked=REVOKED)))
    with pytest.raises(RollbackError, match=f"{NAME} leaves out that a key was revoked") as caught:
        trust_store.refresh(NAME, moved())
    assert f"{MIRROR} showed it" in caught.value.message and f"embhub trust remove {MIRROR}" in caught.value.hint
    with pytest.raises(RollbackError, match="revoked or removed"):
        pin(OTHER, moved())
    assert trust_store.refresh(NAME, moved(make_keyring(registry=NAME, version=2, revoked=REVOKED))).passed


def test_a_change_brings_back_nothing_that_another_address_showed_as_withdrawn() -> None:
    online = {"advisories": {"fingerprint": THIRD.fingerprint, "public_key_pem": THIRD.public_pem}}
    older, newer = (Advisories(ORIGIN, number=number, issued="2026-11-20T10:00:00Z").sign(THIRD) for number in (1, 2))

    def with_advisories(export: bytes, found: Envelope) -> bytes:
        return replace(keyrings.parse_export(export), advisories=found).to_bytes()

    first = make_export(make_keyring(registry=NAME, online=online))
    then = moved(make_keyring(registry=NAME, version=2, online=online))
    pin(NAME, with_advisories(first, older))
    pin(MIRROR, with_advisories(first, newer))
    with pytest.raises(RollbackError, match=f"have number 1, but 2 was seen before; {MIRROR} showed it"):
        trust_store.refresh(NAME, with_advisories(then, older))
    assert trust_store.refresh(NAME, with_advisories(then, newer)).passed


def test_of_two_addresses_that_followed_the_newer_keyring_counts_at_a_late_one() -> None:
    pin(NAME)
    pin(MIRROR, moved())
    pin(OTHER, moved(make_keyring(registry=NAME, version=3)))
    assert trust_store.load(NAME).keyring.version == 3 and trust_store.load(MIRROR).keyring.version == 2


def test_two_roots_that_lead_to_each_other_are_two_roots() -> None:
    pin(NAME, moved(path=(ROOT, SECOND)), root=SECOND)
    with pytest.raises(WrongRootError, match="another root key is pinned"):
        pin(MIRROR, moved(path=(SECOND, ROOT)), root=ROOT)


def test_the_namespaces_of_each_address_stay() -> None:
    pin(NAME)
    trust_store.add(make_export(FIRST), fingerprint=ROOT.fingerprint, address=MIRROR, namespaces=("lumc",))
    trust_store.refresh(NAME, moved())
    assert trust_store.load(MIRROR).namespaces == frozenset({"lumc"}) and trust_store.load(NAME).namespaces is None
    trust_store.add(make_export(FIRST), fingerprint=ROOT.fingerprint, address=MIRROR, namespaces=("nki",))
    assert trust_store.load(MIRROR).namespaces == frozenset({"nki"})


def test_the_pin_that_followed_is_not_removed_before_the_late_one() -> None:
    pin(NAME)
    pin(MIRROR)
    trust_store.refresh(NAME, moved())
    with pytest.raises(ConfigError, match="was replaced") as caught:
        roots.remove_root(NAME)
    assert f"embhub trust refresh {MIRROR}" in caught.value.hint and "remove it first" in caught.value.hint
    assert trust_store.addresses() == (NAME, MIRROR)
    pin(OTHER, moved())
    roots.remove_root(NAME)  # the third one shows it, too
    trust_store.refresh(MIRROR, moved())
    roots.remove_root(OTHER)
    roots.remove_root(MIRROR)
    assert trust_store.addresses() == ()


def test_a_late_pin_is_removed_and_so_is_a_damaged_one(home: Path) -> None:
    pin(NAME)
    pin(MIRROR)
    trust_store.refresh(NAME, moved())
    roots.remove_root(MIRROR)
    pin(MIRROR, moved())
    for path in (home / "home/config/trust").glob("*.json"):
        path.write_bytes(b"{}")
    roots.remove_root(NAME)
    roots.remove_root(MIRROR)


def test_a_person_confirms_the_keyring_that_counts() -> None:
    pin(NAME)
    pin(MIRROR)
    trust_changes.confirm(MIRROR, trust_store.load(MIRROR))
    seen = trust_store.load(MIRROR)
    trust_store.refresh(NAME, moved())
    with pytest.raises(ConfigError, match="changed while you looked at it"):
        trust_changes.confirm(MIRROR, seen)
    trust_changes.confirm(MIRROR, trust_store.load(MIRROR))
    confirmed = trust_store.confirmed(MIRROR)
    assert confirmed is not None and confirmed.version == 2
    assert [check.outcome for check in doctor.examine(offline=True) if check.check == "trust"] == ["ok", "warning"]


def test_a_late_address_confirms_no_key_of_the_new_root() -> None:
    with serve() as copy:
        copy.export = make_export(FIRST)
        roots.add_root(_file(make_export(FIRST)), fingerprint=ROOT.fingerprint)
        pin(MIRROR)
        trust_store.refresh(NAME, moved(make_keyring(registry=NAME, version=2, members=THEIRS)))
        assert roots.add_root(copy.url, fingerprint=ROOT.fingerprint)["root key"] == SECOND.fingerprint
        assert seen.signer_change(NAME, REPOSITORY, fingerprint=STRANGER.fingerprint) is not None


ADDRESSES = st.sampled_from((NAME, MIRROR, OTHER))
EXPORTS = {
    "old": make_export(FIRST), "old, newer": make_export(make_keyring(registry=NAME, version=3)), "moved": moved(),
    "moved, newer": moved(make_keyring(registry=NAME, version=4)),
    "moved twice": moved(make_keyring(registry=NAME, version=5), path=(ROOT, SECOND, THIRD)),
    "forged": by_the_old_root(), "forged, newer": by_the_old_root(9), "forged, old number": by_the_old_root(1),
    "branched": moved(make_keyring(registry=NAME, version=9, members=THEIRS), path=(ROOT, THIEF)),
}  # fmt: skip
STEPS = st.lists(st.tuples(st.sampled_from(("add", "refresh", "remove")), ADDRESSES, st.sampled_from(sorted(EXPORTS))))


@settings(max_examples=examples(50), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_in_whatever_order_once_followed_the_old_root_never_vouches(
    home: Path, steps: list[tuple[str, str, str]]
) -> None:
    for path in (home / "home/config/trust").glob("*.json"):
        path.unlink()
    for what, address, name in steps:
        try:
            if what == "add":
                pin(address, EXPORTS[name])
            elif what == "refresh":
                trust_store.refresh(address, EXPORTS[name])
            else:
                trust_store.remove(address)
        except EmbhubError:
            pass
        followed = {root for root, _ in shown().values()} & {SECOND.fingerprint, THIRD.fingerprint}
        trusts = trust_store.load_all()
        if followed:
            assert {trust.root_fingerprint for trust in trusts} <= followed, (what, address, name)
            assert not any(trust.lookup(STRANGER.fingerprint) for trust in trusts)
        assert len({trust.root_fingerprint for trust in trusts}) <= 1, "one name, one root"
