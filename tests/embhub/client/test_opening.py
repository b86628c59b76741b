"""A file that is signed is verified before it is loaded; one that is not is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from embhub.client.log import logged, logged_attestations
from embhub.client.publishing import push as publishing
from embhub.client.pulling import opening
from embhub.errors import ArtifactError, UsageError
from embhub.refusals import (
    DigestMismatchError,
    ReleaseRefusedError,
    RevokedKeyError,
    RollbackError,
    UnknownSignerError,
)
from embhub.release import at_the_site
from embhub.release import files as release_files
from embhub.release.demands import PolicyRefusedError
from embhub.site import config
from embhub.site.pins import trust_store
from embhub.site.signing import keys
from embhub.site.signing.keys import SigningKey
from embhub.trust import bundle
from embhub.trust.keyring import parse_export
from embhub.trust.logged import leaf_of, leaves_of
from tests.support import logs
from tests.support.logs import MemoryLog
from tests.support.releases import (
    AUDITOR,
    REGISTRY,
    ROOT,
    SITE,
    STRANGER,
    make_embedding,
    make_export,
    make_keyring,
    make_release,
    member,
    resigned,
)
from tests.support.sites import Site


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(tmp_path / "site").enter(monkeypatch)


@pytest.fixture
def pulled(site: Site) -> Path:
    trust_store.add(make_export(), fingerprint=ROOT.fingerprint)
    folder = site.folder / "prostate-cspca"
    make_release().to_folder(folder)
    (folder / "prostate-cspca.safetensors").write_bytes(make_embedding().data)
    return folder


def test_an_unsigned_file_is_told(site: Site) -> None:
    path = site.make()
    for place in (path, str(path)):
        opened = opening.open_path(place)
        assert opened.embedding.digest == make_embedding().digest
        assert "not signed" in opened.warnings[0]


def test_what_was_pulled_is_verified(pulled: Path) -> None:
    for place in (pulled, pulled / release_files.EMBEDDING, pulled / "prostate-cspca.safetensors"):
        (warning,) = opening.open_path(place).warnings
        assert "names no transparency log" in warning, "the keyring here names none; nothing else is wrong"


@pytest.mark.parametrize("name", [release_files.EMBEDDING, "prostate-cspca.safetensors"])
def test_another_embedding_in_its_place_is_refused(pulled: Path, name: str) -> None:
    (pulled / name).write_bytes(make_embedding(seed=9).data)
    for place in (pulled, pulled / name):
        with pytest.raises(DigestMismatchError):
            opening.open_path(place)


def test_a_stranger_is_refused(pulled: Path) -> None:
    make_release(key=STRANGER).to_folder(pulled)
    with pytest.raises(UnknownSignerError):
        opening.open_path(pulled / release_files.EMBEDDING)


def test_a_version_older_than_one_accepted_is_refused(pulled: Path) -> None:
    from embhub.site.memory import seen

    seen.remember(REGISTRY, "radboud/prostate-cspca", version="2.0.0", digest="0" * 64)
    with pytest.raises(RollbackError):
        opening.open_path(pulled)


def test_a_sites_own_signature_counts_there(site: Site) -> None:
    keys.generate("default")
    path = site.make()
    publishing.sign(path, repository="radboud/x", registry="https://hub.example.org")
    assert opening.open_path(path).warnings == ()
    path.write_bytes(make_embedding(seed=9).data)
    with pytest.raises(DigestMismatchError):
        opening.open_path(path)


def stolen(key: SigningKey) -> None:
    """The pinned registry says so."""
    revoked = [{"fingerprint": key.fingerprint, "date": "2026-11-20T12:00:00Z", "reason": "stolen"}]
    trust_store.add(make_export(make_keyring(version=2, revoked=revoked)), fingerprint=ROOT.fingerprint)


def test_a_folder_is_used_by_the_policy_that_verify_judges_by(site: Site) -> None:
    """A countersignature stands in for a stolen key, but not where the site's policy file says strict."""
    folder = site.folder / "prostate-cspca"
    resigned(make_release(), audit_key=AUDITOR).to_folder(folder)
    stolen(SITE)
    assert any("stolen" in warning for warning in opening.open_path(folder).warnings)
    (config.paths().config / "policy.yaml").write_text("policy: strict\n")
    with pytest.raises(RevokedKeyError):
        opening.open_path(folder)


def test_a_stolen_key_of_ones_own_vouches_for_nothing_elsewhere(site: Site) -> None:
    """A thief names another registry and another hospital, for which no keyring here has a revocation."""
    key = keys.generate("default")
    path = site.make()
    publishing.sign(path, repository="hospital-b/x", registry="https://another.example.org")
    assert opening.open_path(path).warnings == ()
    members = [member("radboud", [(key, "publish")])]
    revoked = [{"fingerprint": key.fingerprint, "date": "2026-11-20T12:00:00Z", "reason": "stolen"}]
    trust_store.add(make_export(make_keyring(members=members, revoked=revoked)), fingerprint=ROOT.fingerprint)
    with pytest.raises(ReleaseRefusedError):
        opening.open_path(path)


def test_what_a_site_made_need_not_be_in_the_log_of_its_registry_yet(site: Site) -> None:
    key = keys.generate("default")
    members = [member("radboud", [(key, "publish")])]
    export = make_export(make_keyring(members=members, log={"vkey": str(logs.log_key().public)}))
    trust_store.add(export, fingerprint=ROOT.fingerprint)
    path = site.make()
    publishing.sign(path, repository="radboud/x", registry=REGISTRY)
    assert opening.open_path(path).warnings == ()
    at_the_site.read(path).to_folder(site.folder / "pulled")
    assert opening.open_path(site.folder / "pulled").warnings == ()
    (config.paths().state / "signed.txt").unlink()  # a thief signed elsewhere with this site's key
    for place in (path, site.folder / "pulled"):
        said = opening.open_path(place).warnings
        assert any("no proof (attestations/publish.tlog-proof) is here" in warning for warning in said)


def test_a_site_that_demands_a_log_uses_nothing_whose_audit_is_not_shown_there(site: Site) -> None:
    key, release, folder = logs.log_key(), make_release(), site.folder / "prostate-cspca"
    export = make_export(make_keyring(log={"vkey": str(key.public)}))
    trust_store.add(export, fingerprint=ROOT.fingerprint)
    signed = [release.publish_bundle, bundle.parse(release.files[release_files.AUDIT_BUNDLE])]
    entries = [leaf_of(one.envelope, SITE.public).to_bytes() for one in signed]
    entries += [next(iter(leaves_of(parse_export(export).keyring, [ROOT.public]))).to_bytes()]
    log = MemoryLog(entries, key)
    names = logged.PROOF, "attestations/audit.tlog-proof", logged_attestations.KEYRING_PROOF
    proofs = {name: log.proof_of(index).to_bytes() for index, name in enumerate(names)}
    config.paths().config.mkdir(parents=True, exist_ok=True)
    (config.paths().config / "policy.yaml").write_text("require: [logged]\n")
    release.with_files({**release.files, **proofs}).to_folder(folder)
    assert opening.open_path(folder).warnings == ()
    for name in names[:2]:
        release.with_files({**release.files, **proofs}).to_folder(folder)
        (folder / name).unlink()
        with pytest.raises(PolicyRefusedError, match="no proof"):
            opening.open_path(folder)


def test_nothing_there(site: Site) -> None:
    with pytest.raises(UsageError):
        opening.open_path("absent.safetensors")
    Path("x.safetensors").write_bytes(b"hello")
    with pytest.raises(ArtifactError):
        opening.open_path("x.safetensors")
