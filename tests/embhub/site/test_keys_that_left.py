"""A key that a keyring removed stays out at every site that saw it, whatever a later keyring says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from embhub.client.trusted import trust_changes
from embhub.errors import ConfigError
from embhub.refusals import MalformedKeyringError, RollbackError, UnknownSignerError
from embhub.release import verification
from embhub.site.memory import seen
from embhub.site.pins import trust_store
from embhub.trust.keyring import Keyring
from tests.support.releases import (
    NOW,
    OTHER_SITE,
    REGISTRY,
    REPOSITORY,
    ROOT,
    SITE,
    STRANGER,
    make_export,
    make_keyring,
    make_release,
    make_trust,
    member,
)

THERE = [member("radboud", [(SITE, "publish")]), member("lumc", [(OTHER_SITE, "publish")])]
GONE = THERE[:1]
LEFT = [{"fingerprint": OTHER_SITE.fingerprint, "date": "2026-11-20T00:00:00Z", "reason": "left"}]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path))


def ring(version: int, members: list[dict[str, Any]], revoked: list[dict[str, Any]] | None = None) -> Keyring:
    return make_keyring(version=version, members=members, revoked=revoked or [])


def pin(keyring: Keyring) -> None:
    opened = trust_store.add(make_export(keyring), fingerprint=ROOT.fingerprint)
    trust_changes.confirm(REGISTRY, opened)


def refresh(keyring: Keyring) -> None:
    trust_store.refresh(REGISTRY, make_export(keyring))


def test_a_removal_is_final() -> None:
    pin(ring(1, THERE))
    refresh(ring(2, GONE, LEFT))
    for later in (ring(3, THERE), ring(3, GONE), ring(3, GONE, [LEFT[0] | {"date": "2026-11-21T00:00:00Z"}])):
        with pytest.raises(RollbackError, match="final"):
            trust_store.refresh(REGISTRY, make_export(later))
    refresh(ring(3, GONE, LEFT))
    assert trust_store.load(REGISTRY).lookup(OTHER_SITE.fingerprint) is None


def test_a_revocation_is_not_left_out_together_with_its_key() -> None:
    """In two steps: one keyring forgets the key and why it was revoked, the next one lists it again."""
    stolen = [LEFT[0] | {"reason": "stolen"}]
    pin(ring(1, THERE, stolen))
    with pytest.raises(RollbackError, match="final"):
        refresh(ring(2, GONE))


def test_a_key_is_not_listed_and_removed_at_once() -> None:
    with pytest.raises(MalformedKeyringError, match="removed, and listed"):
        ring(1, THERE, LEFT)


def test_what_a_removed_key_signed_has_an_unknown_signer_also_by_an_older_keyring() -> None:
    """The pin of another address of the same registry may be late."""
    late, newest = make_trust(ring(1, THERE)), make_trust(ring(2, GONE, LEFT))
    release = make_release(key=OTHER_SITE, repository="lumc/knee", name="knee")
    assert verification.verify(release, trust=late, repository="lumc/knee", now=NOW)
    for trusts in ([newest], [late, newest], [newest, late]):
        with pytest.raises(UnknownSignerError, match="removed"):
            verification.verify(release, trust=trusts, repository="lumc/knee", now=NOW)
    assert verification.verify(make_release(), trust=[late, newest], repository=REPOSITORY, now=NOW)


def test_a_key_that_a_keyring_dropped_is_expected_no_more() -> None:
    """Dropped without a word: a restore does so, and a thief of the disk too. Then it is back."""
    pin(ring(1, THERE))
    accepted = {"version": "1.0.0", "digest": "0" * 64, "signer": OTHER_SITE.fingerprint}
    seen.remember(REGISTRY, "lumc/knee", **accepted)
    seen.remember_auditors(REGISTRY, [("lumc", OTHER_SITE.fingerprint)])
    assert seen.signer_change(REGISTRY, "lumc/knee", fingerprint=OTHER_SITE.fingerprint) is None
    refresh(ring(2, GONE))
    refresh(ring(3, THERE))
    change = seen.signer_change(REGISTRY, "lumc/knee", fingerprint=OTHER_SITE.fingerprint)
    assert change is not None and "nobody here confirmed" in change.in_words()
    assert seen.auditor_change(REGISTRY, "lumc", fingerprint=OTHER_SITE.fingerprint) is not None
    assert seen.signer_change(REGISTRY, "radboud/one", fingerprint=SITE.fingerprint) is None
    held = seen.newest(REGISTRY, "lumc/knee")
    assert held is not None and (held.version, held.unexpected) == ("1.0.0", True), "the release is remembered"


def test_a_person_is_asked_about_a_key_that_was_gone_in_between() -> None:
    """The keyring that was confirmed last had it: what a person agreed to then, they did not agree to now."""
    pin(ring(1, THERE))
    refresh(ring(2, GONE))
    refresh(ring(3, THERE))
    opened, asked = trust_store.load(REGISTRY), list[str]()

    def refuse(_: str, lines: Any) -> bool:
        asked.extend(lines)
        return False

    assert not trust_changes.settle(REGISTRY, opened, agree=refuse).agreed
    assert asked == [f"new key for lumc: {OTHER_SITE.fingerprint} may publish"]
    assert seen.signer_change(REGISTRY, "lumc/knee", fingerprint=OTHER_SITE.fingerprint) is not None
    assert trust_changes.settle(REGISTRY, opened, agree=lambda *_: True).agreed
    assert seen.signer_change(REGISTRY, "lumc/knee", fingerprint=OTHER_SITE.fingerprint) is None


def test_a_damaged_memory_takes_no_keyring(tmp_path: Path) -> None:
    """What cannot be forgotten must not be passed over: the keyring before stays in force."""
    pin(ring(1, [*THERE, member("nki", [(STRANGER, "publish")])]))
    (tmp_path / "state/seen.json").write_text("{")
    with pytest.raises(ConfigError, match="remembers"):
        refresh(ring(2, GONE))
    assert trust_store.load(REGISTRY).keyring.version == 1
