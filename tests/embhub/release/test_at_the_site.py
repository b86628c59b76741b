"""A file with its card, report and attestations beside it is a release; so is one in a folder that was pulled."""

from __future__ import annotations

from pathlib import Path

import pytest

from embhub.cards import card_draft
from embhub.errors import ArtifactError, UsageError
from embhub.refusals import CardMismatchError, DigestMismatchError, UnsignedError
from embhub.release import at_the_site, signing, verification
from embhub.release import files as release_files
from embhub.release.files import Release
from tests.support.releases import (
    NOW,
    ORIGIN,
    REPOSITORY,
    SITE,
    make_card,
    make_embedding,
    make_release,
    make_report,
    make_trust,
)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """An embedding with its card and report, unsigned."""
    path = tmp_path / "cspca.safetensors"
    artifact = make_embedding()
    report = make_report(artifact)
    path.write_bytes(artifact.data)
    (tmp_path / "cspca.audit.json").write_bytes(report.to_bytes())
    (tmp_path / "cspca.card.yaml").write_bytes(card_draft.write_draft(make_card(artifact, report=report), []))
    return path


def sign(site: Path) -> Release:
    release = signing.assemble(site, registry=ORIGIN, repository=REPOSITORY, key=SITE, now=NOW)
    at_the_site.write_bundles(release, site)
    return release


def test_signed_files_are_the_release(site: Path) -> None:
    release = sign(site)
    assert (site.parent / "cspca.publish.sigstore.json").exists()
    assert (site.parent / "cspca.audit.sigstore.json").exists()
    found = at_the_site.read(site)
    assert dict(found.files) == dict(release.files)
    assert verification.verify(found, trust=make_trust(), now=NOW).repository == REPOSITORY


def test_unsigned_files_are_a_release_without_attestation(site: Path) -> None:
    with pytest.raises(UnsignedError):
        _ = at_the_site.read(site).publish_bundle


def test_card_edited_after_signing(site: Path) -> None:
    sign(site)
    path = site.parent / "cspca.card.yaml"
    path.write_text(path.read_text().replace("one scanner", "none"))
    with pytest.raises(CardMismatchError):
        verification.verify(at_the_site.read(site), trust=make_trust(), now=NOW)
    path.write_text("no: card")
    with pytest.raises(CardMismatchError, match="not the signed card"):
        at_the_site.read(site)


def test_unreadable_card_before_signing(site: Path) -> None:
    (site.parent / "cspca.card.yaml").write_text("no: card")
    with pytest.raises(ArtifactError):
        at_the_site.read(site)


def test_stale_audit_attestation_is_removed(site: Path) -> None:
    sign(site)
    artifact = make_embedding()
    (site.parent / "cspca.audit.json").unlink()
    (site.parent / "cspca.card.yaml").write_bytes(card_draft.write_draft(make_card(artifact), []))
    sign(site)
    assert not (site.parent / "cspca.audit.sigstore.json").exists()


def test_file_in_a_pulled_folder_belongs_to_its_release(tmp_path: Path) -> None:
    release = make_release()
    release.to_folder(tmp_path / "out")
    copy = tmp_path / "out/prostate-cspca.safetensors"
    copy.write_bytes(release.files[release_files.EMBEDDING])
    for path in (copy, tmp_path / "out" / release_files.EMBEDDING):
        assert verification.verify(at_the_site.read(path), trust=make_trust(), now=NOW).version == "1.0.0"
    copy.write_bytes(make_embedding(seed=3).data)
    with pytest.raises(DigestMismatchError, match="prostate-cspca"):
        verification.verify(at_the_site.read(copy), trust=make_trust(), now=NOW)
    renamed = copy.rename(tmp_path / "out/prostate-cspca.bin")
    with pytest.raises(DigestMismatchError, match="prostate-cspca"):
        verification.verify(at_the_site.read(renamed), trust=make_trust(), now=NOW)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a file"):
        at_the_site.read(tmp_path / "absent.safetensors")


def test_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.safetensors"
    with path.open("wb") as stream:
        stream.truncate(2_000_000_000)
    with pytest.raises(ArtifactError):
        at_the_site.read(path)
