"""A signature counts at one registry: what was signed for another is refused, whoever holds keys at both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from embhub.client.publishing import push as publishing
from embhub.client.pulling import pull as pulling
from embhub.client.statements import reports
from embhub.client.trusted import roots
from embhub.errors import UsageError
from embhub.refusals import ReleaseRefusedError, RevokedKeyError, WrongNamespaceError, WrongRegistryError
from embhub.release import files as release_files
from embhub.release import signing, verification
from embhub.release.checks import attested
from embhub.release.files import Release
from embhub.site.signing import keys
from embhub.trust import kinds, statement
from tests.support import releases
from tests.support.hostile import serve
from tests.support.proposals import refusal
from tests.support.releases import AUDITOR, NOW, REPOSITORY, SITE, make_keyring, make_release, make_trust, member
from tests.support.sites import Site

A, B = "https://hub-a.example.org", "https://hub-b.example.org:8443"
OF_A, OF_B = "hub-a.example.org", "hub-b.example.org"
TRUST_A, TRUST_B = make_trust(make_keyring(registry=A)), make_trust(make_keyring(registry=B))
FOR_A = make_release(registry=OF_A)


def test_it_counts_where_it_was_signed_for_in_any_order_of_pins() -> None:
    for trusts in ([TRUST_A], [TRUST_A, TRUST_B], [TRUST_B, TRUST_A]):
        verified = verification.verify(FOR_A, trust=trusts, now=NOW)
        assert verified.signer.registry == A, "its own keyring vouches for it, not the first one that knows the key"


def test_the_port_and_the_scheme_of_a_registry_may_change() -> None:
    moved = make_trust(make_keyring(registry="http://HUB-A.example.org:8000"))
    assert verification.verify(FOR_A, trust=moved, now=NOW).repository == REPOSITORY


def test_a_key_that_two_registries_know_does_not_speak_for_the_first_at_the_second() -> None:
    with pytest.raises(WrongRegistryError) as caught:
        verification.verify(FOR_A, trust=TRUST_B, now=NOW)
    assert OF_A in caught.value.message and OF_B in caught.value.message
    assert caught.value.exit_code == 4 and caught.value.findings[-1].check == "wrong-registry"


def test_admission_of_the_other_registry_refuses_it() -> None:
    assert refusal(dict(FOR_A.files), trust=TRUST_B).rule == "wrong-registry"


def test_another_registrys_revocation_does_not_silence_a_member() -> None:
    """The other operator adds radboud's real key, and calls it stolen."""
    stolen = {"fingerprint": SITE.fingerprint, "date": "2026-01-01T00:00:00Z", "reason": "stolen"}
    silencing = make_trust(make_keyring(registry=B, revoked=[stolen]))
    assert verification.verify(FOR_A, trust=[silencing, TRUST_A], now=NOW).signer.revoked_as is None
    own = make_trust(make_keyring(registry=A, revoked=[stolen]))
    with pytest.raises(RevokedKeyError):
        verification.verify(FOR_A, trust=[own, TRUST_B], now=NOW)


def test_a_registry_that_lists_the_key_elsewhere_does_not_change_whose_it_is() -> None:
    theirs = make_trust(make_keyring(registry=B, members=[member("thief", [(SITE, "publish")])]))
    assert verification.verify(FOR_A, trust=[theirs, TRUST_A], now=NOW).signer.namespace == "radboud"
    with pytest.raises(WrongNamespaceError):
        verification.verify(make_release(registry=OF_B), trust=[theirs, TRUST_A], now=NOW)


def test_an_audit_signed_for_another_registry_does_not_count() -> None:
    report = FOR_A.audit
    assert report is not None
    digest = release_files.digest(FOR_A.files[release_files.AUDIT])
    facts: dict[str, Any] = {"report_digest": digest, "repository": REPOSITORY, "version": "1.0.0", "now": NOW}
    for_b = signing.attest_audit(report, registry=OF_B, key=AUDITOR, **facts)
    with pytest.raises(ReleaseRefusedError) as caught:
        attested.read(for_b, digest=FOR_A.embedding.digest, trusts=[TRUST_A])
    assert caught.value.rule == "wrong-registry"
    assert attested.read(for_b, digest=FOR_A.embedding.digest, trusts=[TRUST_A, TRUST_B]).registry == B
    replayed = signing.attest_audit(report, registry=OF_B, key=SITE, **facts)
    mixed = Release.from_files({**FOR_A.files, release_files.AUDIT_BUNDLE: replayed})
    with pytest.raises(WrongRegistryError):
        verification.verify(mixed, trust=[TRUST_A, TRUST_B], now=NOW)


def test_another_registrys_auditor_of_the_same_name_takes_nothing_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does what was heard there become a demand on this registry, or push out what was heard here."""
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path))
    digest = FOR_A.embedding.digest
    told: dict[str, Any] = {"own": False, "repository": REPOSITORY, "version": "1.0.0"}
    leak = attested.Attested(
        namespace="nki", verdict="leak-detected", created="2026-11-20T00:00:00Z", registry=A, **told
    )
    clean = leak.model_copy(update={"verdict": "no-leak-detected", "created": "2026-11-29T00:00:00Z", "registry": B})
    assert set(attested.newest([leak, clean])) == {leak, clean}
    many = [clean.model_copy(update={"namespace": f"n{n}", "verdict": "leak-detected"}) for n in range(30)]
    for registry, audits in ((A, [leak]), (B, [clean, *many])):
        reports.remember(registry, REPOSITORY, "1.0.0", digest=digest, yanked=None, known=False, audits=audits)
    kept = reports.audits(digest)
    assert leak in kept and len(kept) == 21
    verified = verification.verify(FOR_A, trust=[TRUST_A, TRUST_B], now=NOW)
    told_here = verified.told(yanked=None, others=[], remembered=kept)
    assert [item.audit for item in told_here.lost] == [leak], "what was heard at A is missed at A, and nothing else"
    assert leak in verified.told(yanked=None, others=[leak, clean], remembered=[]).others
    assert clean not in verified.told(yanked=None, others=[leak, clean], remembered=[]).others


@pytest.mark.parametrize(
    "name", ["", "Hub.example.org", "hub.example.org:8443", "https://hub.example.org", "hüb", "a b"]
)
def test_a_statement_names_a_host_and_nothing_else(name: str) -> None:
    with pytest.raises(ReleaseRefusedError):
        make_release(registry=name)


def test_a_statement_that_names_no_registry_is_malformed() -> None:
    facts = dict(FOR_A.publish_bundle.statement.predicate)
    del facts["registry"]
    signed = statement.Statement(FOR_A.embedding.digest, kinds.PUBLISH.type, facts)
    with pytest.raises(ReleaseRefusedError, match="registry"):
        statement.read_publish(signed)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(tmp_path / "site").enter(monkeypatch)


def pin(address: str, folder: Path) -> None:
    export = folder / "export.json"
    export.write_bytes(releases.make_export(make_keyring(registry=address)))
    roots.add_root(str(export), fingerprint=releases.ROOT.fingerprint)


def test_a_private_release_pushed_on_to_another_registry_is_refused_there(site: Site) -> None:
    """Both are pinned; the second registry's own admission is switched off."""
    with serve() as liar:
        liar.files, liar.export = dict(FOR_A.files), releases.make_export(make_keyring(registry=B))
        roots.add_root(liar.url, fingerprint=releases.ROOT.fingerprint)
        pin(A, site.folder)
        with pytest.raises(WrongRegistryError):
            pulling.pull(REPOSITORY, registry=liar.url)
    assert not (site.folder / "prostate-cspca").exists()
    FOR_A.to_folder(site.folder / "stick")
    assert pulling.verify_path(site.folder / "stick").signer.registry == A, "a stick has no address, and needs none"


def test_signing_names_the_registry_that_is_meant(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    keys.generate("default")
    path = site.make()
    with pytest.raises(UsageError) as caught:
        publishing.sign(path, repository=REPOSITORY)
    assert "--registry" in caught.value.hint

    def registry_of(registry: str | None = None) -> str:
        signed = publishing.sign(path, repository=REPOSITORY, registry=registry)
        return statement.read_publish(signed.release.publish_bundle.statement).registry

    assert registry_of(registry="https://Other.example.org:1") == "other.example.org"
    monkeypatch.setenv("EMBHUB_REGISTRY", B)
    assert registry_of() == OF_B
    pin(A, site.folder)
    assert registry_of(registry=A) == OF_A


def test_a_mirror_and_a_new_address_keep_the_name_of_the_keyring(site: Site) -> None:
    """The registry is reached at 127.0.0.1, and its keyring calls it hub-a.example.org."""
    keys.generate("default")
    with serve() as mirror:
        address = mirror.url
        mirror.files, mirror.export = dict(FOR_A.files), releases.make_export(make_keyring(registry=A))
        roots.add_root(address, fingerprint=releases.ROOT.fingerprint)
        signed = publishing.sign(site.make(), repository=REPOSITORY, registry=address)
        assert statement.read_publish(signed.release.publish_bundle.statement).registry == OF_A
        assert pulling.pull(REPOSITORY, registry=address).signer.registry == A
        publishing.sign(site.folder / "prostate-cspca.safetensors", repository=REPOSITORY, registry=B)
        with pytest.raises(WrongRegistryError, match=OF_B):
            publishing.push(site.folder / "prostate-cspca.safetensors", REPOSITORY, registry=address)
