"""A publishing key is lost or stolen: from the operator's one command to a release that is good again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from embhub.__main__ import main
from embhub.client.publishing import push as publishing
from embhub.client.pulling import pull as pulling
from embhub.client.trusted import roots
from embhub.client.wire.errors import NotFoundError
from embhub.client.wire.hub import Hub
from embhub.errors import RegistryError, UsageError
from embhub.refusals import RevokedKeyError, RollbackError, WrongRootError
from embhub.release import files as release_files
from embhub.release import signing
from embhub.release.files import Release
from embhub.site.memory import seen
from embhub.site.pins import trust_store
from embhub.site.signing import keys
from tests.support import vouching
from tests.support.quick import quick
from tests.support.releases import (
    AUDITOR,
    AUDITOR_BUNDLE,
    NOW,
    ORIGIN,
    OTHER_SITE,
    REPOSITORY,
    SITE,
    make_release,
    resigned,
)
from tests.support.servers import RunningRegistry, init_registry, running_registry
from tests.support.sites import Site, new_key, open_site


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path / "hub") as running:
        running.add_key(AUDITOR, namespace="nki", role="audit")
        yield running


@pytest.fixture
def publisher(registry: RunningRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    site = open_site(registry, tmp_path / "a", namespace="radboud", user="alice").enter(monkeypatch)
    new_key(registry, namespace="radboud")
    publishing.push(site.make())
    return site


@pytest.fixture
def reader(registry: RunningRegistry, publisher: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    site = Site(tmp_path / "b", registry.url).enter(monkeypatch)
    site.trust(registry)
    pulling.pull(REPOSITORY)
    return site


def said(folder: str = "prostate-cspca") -> tuple[str, str]:
    found = pulling.verify_path(folder).findings
    (row,) = [(finding.outcome, finding.text) for finding in found if finding.check == "revocation"]
    return row


def test_a_stolen_key_from_end_to_end(
    registry: RunningRegistry,
    publisher: Site,
    reader: Site,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    registry.run("key", "revoke", reader_key(), "--reason", "stolen")
    assert main(["verify", "prostate-cspca"]) == 0, (
        "what was pulled is judged by the keyring at hand, until it is renewed"
    )
    commit = registry.get(f"/api/models/{REPOSITORY}").json()["sha"]
    with pytest.raises(NotFoundError, match="key-stolen"):
        pulling.pull(REPOSITORY)
    with pytest.raises(RevokedKeyError, match="stolen"):
        pulling.pull(f"{REPOSITORY}@{commit}")
    capsys.readouterr()
    assert main(["verify", "prostate-cspca", "--json"]) == 4, "the pull that was refused renewed the keyring"
    document = json.loads(capsys.readouterr().out)
    assert document["verified"] is False and document["rule"] == "revoked-key" and "sign" in document["hint"]
    assert main(["show", "prostate-cspca"]) == 0
    assert "no: " in capsys.readouterr().out

    publisher.enter(monkeypatch)
    publisher.make("second", seed=2)
    with pytest.raises(RegistryError, match="revoked-key"):
        publishing.push("second.safetensors")
    new_key(registry, namespace="radboud", name="second")
    assert main(["sign", "prostate-cspca.safetensors", "--key", "second"]) == 0
    assert main(["push", "prostate-cspca.safetensors"]) == 0

    reader.enter(monkeypatch)
    verified = pulling.pull(REPOSITORY)
    assert verified.version == "1.0.0" and verified.signer.revoked_as is None
    assert main(["verify", "prostate-cspca", "--require", "no-leak,not-yanked"]) == 0


def reader_key() -> str:
    """The fingerprint that signed what lies in the reader's folder."""
    return Release.from_folder("prostate-cspca").publish_bundle.hint


@pytest.mark.thorough
@pytest.mark.parametrize(("reason", "outcome"), quick([("lost", "warning")], thorough=[("superseded", "note")]))
def test_a_lost_key_leaves_earlier_releases_good_and_signs_nothing_new(
    registry: RunningRegistry, publisher: Site, reader: Site, monkeypatch: pytest.MonkeyPatch, reason: str, outcome: str
) -> None:
    registry.run("key", "revoke", reader_key(), "--reason", reason)
    assert pulling.pull(REPOSITORY).signer.revoked_as == reason
    how, text = said()
    assert how == outcome and "stays good" in text and "back-dated" in text
    publisher.enter(monkeypatch)
    publisher.make("second", seed=2)
    with pytest.raises(RegistryError, match="revoked-key"):
        publishing.push("second.safetensors")


@pytest.mark.thorough
def test_a_version_that_a_thief_raised_does_not_lock_the_publisher_out(
    registry: RunningRegistry, publisher: Site, reader: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What TUF calls fast-forward: a number so high that nothing honest follows it."""
    thief = reader_key()
    lodged = seen.newest(registry.url, REPOSITORY)
    assert lodged is not None and lodged.signer == thief
    seen.remember(registry.url, REPOSITORY, version="999999.0.0", digest="0" * 64, signer=reader_key())
    with pytest.raises(RollbackError):
        pulling.pull(REPOSITORY)
    registry.run("key", "revoke", reader_key(), "--reason", "stolen")
    publisher.enter(monkeypatch)
    new_key(registry, namespace="radboud", name="second")
    publishing.sign("prostate-cspca.safetensors", key="second")
    publishing.push("prostate-cspca.safetensors")
    reader.enter(monkeypatch)
    assert "counts no more" in str(pulling.pull(REPOSITORY).findings)
    newest = seen.newest(registry.url, REPOSITORY, stolen={thief})
    assert newest is not None and (newest.version, newest.signer) == ("1.0.0", reader_key())
    with pytest.raises(RollbackError):
        seen.remember(registry.url, REPOSITORY, version="2.0.0", digest="0" * 64, signer=reader_key())
        pulling.pull(REPOSITORY)


@pytest.mark.thorough
def test_a_countersignature_outlives_a_stolen_key(
    registry: RunningRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.add_key(SITE, namespace="radboud")
    site = open_site(registry, tmp_path / "a", namespace="radboud", user="alice").enter(monkeypatch)
    Hub(registry.url, token=site.token).push(resigned(make_release(), audit_key=AUDITOR), REPOSITORY)
    site.trust(registry)
    registry.run("key", "revoke", SITE.fingerprint, "--reason", "stolen")
    with pytest.raises(RevokedKeyError):
        pulling.pull(REPOSITORY, policy="strict")
    assert pulling.pull(REPOSITORY).independent
    assert said()[0] == "warning"

    new_key(registry, namespace="radboud", name="second")
    roots.refresh_roots(agree=lambda *_: True)
    before = Path("prostate-cspca", AUDITOR_BUNDLE).read_bytes()
    assert main(["sign", "prostate-cspca", "--key", "second"]) == 0
    assert Path("prostate-cspca", AUDITOR_BUNDLE).read_bytes() == before
    assert main(["push", "--from", "prostate-cspca"]) == 0
    vouching.begin(registry)
    vouching.rely(Path("home"))
    verified = pulling.pull(REPOSITORY, policy="strict")
    assert verified.independent and verified.signer.fingerprint == keys.load("second").fingerprint
    with pytest.raises(UsageError, match="as it is"):
        publishing.sign("prostate-cspca", repository="radboud/x")


def test_signed_anew_a_release_says_the_same_but_for_key_and_date() -> None:
    for before in (make_release(), make_release(audited=False), make_release(replaces="d" * 64)):
        after = signing.sign_anew(before, key=OTHER_SITE, now=NOW)
        assert after.publish_bundle.hint == OTHER_SITE.fingerprint
        assert after.publish_bundle.envelope.payload == before.publish_bundle.envelope.payload
        if before.audit_bundle is not None:
            assert after.audit_bundle is not None and after.audit_bundle.hint == OTHER_SITE.fingerprint


def test_an_audit_that_came_later_stays_outside_the_statement() -> None:
    late, plain = resigned(make_release(), audit_key=AUDITOR), make_release(audited=False)
    assert late.audit is not None
    bundle = signing.attest_audit(
        late.audit, report_digest=release_files.digest(late.files[release_files.AUDIT]),
        registry=ORIGIN, repository=REPOSITORY, version="1.0.0",
        key=AUDITOR, now=NOW,
    )  # fmt: skip
    files = {**plain.files, release_files.AUDIT: late.files[release_files.AUDIT], AUDITOR_BUNDLE: bundle}
    after = signing.sign_anew(Release.from_files(files), key=SITE, now=NOW)
    assert after.files[AUDITOR_BUNDLE] == bundle
    assert after.publish_bundle.envelope.payload == plain.publish_bundle.envelope.payload


def test_another_root_key_is_never_taken_over(reader: Site, registry: RunningRegistry, tmp_path: Path) -> None:
    """A registry laid out anew under the same address: refused until a person pins the new key by hand."""
    anew = init_registry(tmp_path / "anew")
    export = anew.run("trust", "export").stdout.replace(anew.url, registry.url).encode()
    for call in (
        lambda: trust_store.refresh(registry.url, export),
        lambda: trust_store.add(export, fingerprint=anew.root_fingerprint, address=registry.url),
    ):
        with pytest.raises(WrongRootError):
            call()
    assert pulling.verify_path("prostate-cspca").version == "1.0.0"
    assert trust_store.load(registry.url).root_fingerprint == registry.root_fingerprint
