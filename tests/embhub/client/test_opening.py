"""A file that is signed is verified before it is loaded; one that is not is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from embhub.client import opening, publishing
from embhub.errors import ArtifactError, UsageError
from embhub.refusals import DigestMismatchError, RollbackError, UnknownSignerError
from embhub.release import files as release_files
from embhub.site import keys, trust_store
from tests.support.releases import REGISTRY, ROOT, STRANGER, make_embedding, make_export, make_release
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
        assert opening.open_path(place).warnings == ()


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
    from embhub.site import seen

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


def test_nothing_there(site: Site) -> None:
    with pytest.raises(UsageError):
        opening.open_path("absent.safetensors")
    Path("x.safetensors").write_bytes(b"hello")
    with pytest.raises(ArtifactError):
        opening.open_path("x.safetensors")
