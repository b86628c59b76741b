"""Attestations of any type through a real registry: stored, served, pulled, and kept when others sign."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from embhub.client.member import countersigning
from embhub.client.publishing import push as publishing
from embhub.client.pulling import pull as pulling
from embhub.client.wire.hub import Hub
from embhub.errors import RegistryError
from embhub.release import files as release_files
from embhub.release.files import Release
from embhub.trust import bundle, statement
from embhub.trust.statement import Statement
from tests.support.releases import STRANGER
from tests.support.servers import RunningRegistry, running_registry
from tests.support.sites import Site, new_key, open_site

SLSA, PROOF = "attestations/slsa.sigstore.json", "attestations/slsa.tlog-proof"
REPOSITORY = "radboud/prostate-cspca"


def provenance(release: Release, *, critical: bool = False) -> bytes:
    facts = {"buildType": "x", "critical": critical}
    signed = Statement(release.embedding.digest, "https://slsa.dev/provenance/v1", facts)
    return bundle.to_json(statement.sign(signed, key=STRANGER))


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path_factory.mktemp("hub")) as running:
        yield running


def test_they_travel_and_stay(registry: RunningRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publisher = open_site(registry, tmp_path / "a", namespace="radboud", user="alice").enter(monkeypatch)
    new_key(registry, namespace="radboud")
    path = publisher.make()
    publishing.push(path)
    hub = Hub(registry.url, token=publisher.token)
    release, _ = hub.fetch(REPOSITORY)
    with pytest.raises(RegistryError, match="critical-attestation"):
        hub.push(Release.from_files({**release.files, SLSA: provenance(release, critical=True)}), REPOSITORY)
    more = Release.from_files({**release.files, SLSA: provenance(release), PROOF: b"c2sp.org/tlog-proof@v1\n"})
    hub.push(more, REPOSITORY)

    auditor = open_site(registry, tmp_path / "n", namespace="nki", user="nora", role="auditor").enter(monkeypatch)
    new_key(registry, namespace="nki", role="audit")
    auditor.trust(registry)
    countersigning.countersign(countersigning.prepare(REPOSITORY))
    with pytest.raises(RegistryError, match="may not change"):
        Hub(registry.url, token=auditor.token).push(
            Release.from_files({**more.files, "attestations/mine.sigstore.json": provenance(release)}), REPOSITORY
        )

    reader = Site(tmp_path / "b", registry.url).enter(monkeypatch)
    reader.trust(registry)
    verified = pulling.pull(REPOSITORY)
    assert verified.independent
    said = [finding.text for finding in verified.findings if finding.check == "attestation"]
    assert len(said) == 2 and all("not checked by this version" in text for text in said)
    nki = release_files.audit_bundle_of("nki")
    assert {SLSA, PROOF, nki} <= Release.from_folder("prostate-cspca").files.keys()
    assert pulling.verify_path("prostate-cspca").independent
    assert registry.get(f"/{REPOSITORY}", headers={"Accept": "text/html"}).status == 200

    publisher.enter(monkeypatch)
    publishing.push(path)  # as it was signed: what stands beside it stays
    assert {SLSA, PROOF, nki} <= hub.fetch(REPOSITORY)[0].files.keys()
    publisher.make(version="1.1.0")
    publishing.sign(path)
    publishing.push(path)
    assert not {SLSA, PROOF, nki} & hub.fetch(REPOSITORY)[0].files.keys(), "they spoke of the earlier version"
    reader.enter(monkeypatch)
    pulling.pull(REPOSITORY)
    assert not Path("prostate-cspca", SLSA).exists() and pulling.verify_path("prostate-cspca").version == "1.1.0"
    kept = [found.name for found in Path("prostate-cspca/earlier-audits").iterdir()]
    assert any(name.endswith("-nki.sigstore.json") for name in kept)
