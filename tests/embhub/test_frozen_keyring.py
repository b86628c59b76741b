"""A middleman who freezes a registry or mixes its days, a revocation held back, and a person who confirms keys."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from embhub.__main__ import main
from embhub.client.pulling import pull as pulling
from embhub.client.trusted import roots
from embhub.client.wire.hub import Hub
from embhub.errors import PolicyError
from embhub.release.demands import PolicyRefusedError
from embhub.release.verified import Verified
from embhub.site.pins import trust_store
from embhub_registry.operation import administration
from tests.support import hostile
from tests.support.hostile import Middleman, edited
from tests.support.releases import (
    OTHER_SITE,
    REPOSITORY,
    ROOT,
    SITE,
    STRANGER,
    make_export,
    make_keyring,
    make_release,
    member,
)
from tests.support.servers import RunningRegistry, running_registry
from tests.support.sites import Site

TRUST = "/embhub/v1/trust"


@dataclass(frozen=True)
class Place:
    registry: RunningRegistry
    middle: Middleman
    site: Site
    old: bytes  # the trust document before the key was stolen


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningRegistry, bytes]]:
    with running_registry(tmp_path_factory.mktemp("frozen")) as registry:
        registry.add_key(SITE, namespace="radboud")
        hub = Hub(registry.url, token=registry.add_user("alice", namespace="radboud"))
        hub.push(make_release(), REPOSITORY)
        yield registry, hub.trust_export()


@pytest.fixture
def place(served: tuple[RunningRegistry, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    registry, old = served
    monkeypatch.setattr("embhub.client.wire.hub.PAUSES", (0.0,))
    with hostile.stand_between(registry.url) as middle:
        site = Site(tmp_path / "site", middle.url).enter(monkeypatch)
        roots.add_root(middle.url, fingerprint=registry.root_fingerprint)
        yield Place(registry, middle, site, old)


def found(verified: Verified, check: str) -> list[tuple[str, str]]:
    return [(item.outcome, item.text) for item in verified.findings if item.check == check]


def unmet(call: Any) -> tuple[str, ...]:
    with pytest.raises(PolicyRefusedError) as caught:
        call()
    assert caught.value.exit_code == 8
    return caught.value.unmet


def at(monkeypatch: pytest.MonkeyPatch, days: float) -> None:
    """Let the site's clock be `days` ahead."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(UTC) + timedelta(days=days)

    monkeypatch.setattr(pulling, "datetime", Clock)


def test_a_registry_that_is_up_to_date_is_fresh(place: Place) -> None:
    verified = pulling.pull(REPOSITORY, require="fresh")
    assert verified.freshness == verified.to_json()["freshness"] == "fresh"
    assert found(verified, "freshness")[0][0] == "ok"


def test_a_trust_address_that_answers_503_is_noticed_when_the_timestamp_ends(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One blocked address keeps a stolen key in force: `standard` warns with the age, `strict` refuses."""
    place.middle.lies = {TRUST: lambda h: h.send(503, b"{}")}
    assert found(pulling.pull(REPOSITORY), "keyring")[0][0] == "warning"
    at(monkeypatch, 8)
    verified = pulling.pull(REPOSITORY)
    outcome, text = found(verified, "freshness")[0]
    assert outcome == "warning" and text.startswith("stale") and "8 days old" in text
    assert verified.freshness == "stale"
    assert "fresh" in unmet(lambda: pulling.pull(REPOSITORY, policy="strict"))
    assert main(["pull", REPOSITORY, "--policy", "strict"]) == 8


def test_an_old_keyring_served_on_and_on_is_noticed_too(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.middle.lies = {TRUST: edited(lambda _: place.old)}
    at(monkeypatch, 8)
    assert unmet(lambda: pulling.pull(REPOSITORY, require="fresh")) == ("fresh",)


def test_a_timestamp_that_is_taken_out_is_noticed_at_once(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(body: bytes) -> bytes:
        return json.dumps({name: part for name, part in json.loads(body).items() if name != "timestamp"}).encode()

    place.middle.lies = {TRUST: edited(without)}
    assert pulling.pull(REPOSITORY).freshness == "fresh", "the one kept here counts while it lasts"
    Site(tmp_path / "new", place.middle.url).enter(monkeypatch)
    roots.add_root(place.middle.url, fingerprint=place.registry.root_fingerprint)
    verified = pulling.pull(REPOSITORY)
    assert found(verified, "freshness")[0][0] == "warning" and "missing" in found(verified, "freshness")[0][1]
    assert "fresh" in unmet(lambda: pulling.pull(REPOSITORY, policy="strict"))


def test_the_server_signs_a_new_timestamp_at_every_change_and_when_it_is_a_day_old(place: Place) -> None:
    with place.registry.opened() as registry:
        assert not registry.renew_timestamp(), "nothing is due"
        before = registry.trust().timestamp
        with registry.database.writing() as db:
            db.execute("UPDATE trust_timestamp SET issued = '2026-01-01T00:00:00Z'")
        assert registry.renew_timestamp()
        assert before is not None and registry.trust().timestamp is not None


# ── new keys, and a person who confirms them ───────────────────────────────────────────────────────────────────────


def test_refresh_prints_the_difference_and_a_person_confirms(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with place.registry.opened() as registry:
        file = place.site.folder / "other.pem"
        file.write_text(OTHER_SITE.public_pem)
        administration.add_key(registry, file, namespace="lumc", role="publish")
    asked: list[Sequence[str]] = []

    def refuse(_: str, changes: Sequence[str]) -> bool:
        asked.append(changes)
        return False

    (row,) = roots.refresh_roots(agree=refuse)
    assert row["confirmed"] is False and asked == [tuple(row["changes"])]
    assert row["changes"] == [f"new key for lumc: {OTHER_SITE.fingerprint} may publish"]
    (place.site.folder / "policy.yaml").write_text("policy: strict\n")
    monkeypatch.setenv("EMBHUB_POLICY_FILE", str(place.site.folder / "policy.yaml"))
    with pytest.raises(PolicyError, match="nobody confirmed"):
        roots.refresh_roots()
    assert trust_store.load(place.middle.url).lookup(OTHER_SITE.fingerprint) is not None, "in force all the same"
    assert main(["trust", "refresh"]) == 8
    assert main(["trust", "refresh", "--yes"]) == 0
    assert OTHER_SITE.fingerprint in capsys.readouterr().err
    assert roots.refresh_roots()[0]["changes"] == []


def test_strict_refuses_what_a_new_key_signed_until_it_is_confirmed(place: Place) -> None:
    """The forger of the review: whoever holds the root adds a key to a namespace and signs with it."""
    with place.registry.opened() as registry:
        file = place.site.folder / "new.pem"
        file.write_text(STRANGER.public_pem)
        administration.add_key(registry, file, namespace="radboud", role="publish")
    hub = Hub(place.registry.url, token=place.registry.add_user("mallory", namespace="radboud"))
    hub.push(make_release(version="1.0.1", key=STRANGER), REPOSITORY)
    assert "known-signer" in unmet(lambda: pulling.pull(REPOSITORY, require="known-signer"))
    roots.refresh_roots()
    assert "known-signer" in unmet(lambda: pulling.pull(REPOSITORY, policy="strict")), "nobody was asked"
    said = found(pulling.fetch(REPOSITORY).verified, "signer")
    assert any(outcome == "warning" and STRANGER.fingerprint in text for outcome, text in said), "standard says it"
    (row,) = roots.refresh_roots(agree=lambda _, changes: True)
    assert f"new key for radboud: {STRANGER.fingerprint} may publish" in row["changes"]
    assert pulling.pull(REPOSITORY, require="known-signer").version == "1.0.1"


# ── pins for some namespaces ───────────────────────────────────────────────────────────────────────────────────────


def test_a_pin_speaks_for_its_namespaces_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Site(tmp_path).enter(monkeypatch)
    made = trust_store.add(make_export(), fingerprint=ROOT.fingerprint, namespaces=["lumc"])
    assert made.lookup(SITE.fingerprint) is None and made.lookup(OTHER_SITE.fingerprint) is not None
    kept = trust_store.refresh(made.registry, make_export(make_keyring(version=2)))
    assert kept.lookup(SITE.fingerprint) is None, "a newer keyring changes nothing of it"
    again = trust_store.add(make_export(make_keyring(version=2)), fingerprint=ROOT.fingerprint, namespaces=["radboud"])
    assert again.lookup(SITE.fingerprint) is not None and again.lookup(OTHER_SITE.fingerprint) is None


def test_pins_that_contradict_one_another_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from embhub.client.trusted import vouching

    Site(tmp_path).enter(monkeypatch)
    theirs = make_keyring(registry="https://other.example.org", members=[member("radboud", [(STRANGER, "publish")])])
    both = [
        trust_store.add(make_export(), fingerprint=ROOT.fingerprint),
        trust_store.add(make_export(theirs), fingerprint=ROOT.fingerprint),
    ]
    (line,) = vouching.conflicts(both)
    assert "different keys for radboud" in line
    limited = trust_store.add(make_export(theirs), fingerprint=ROOT.fingerprint, namespaces=["lumc"])
    assert vouching.conflicts([both[0], limited]) == []
