"""Embeddings are verified, and those whose card or licence forbids a data set are refused, in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from embhub.diffusion.datasets import sources
from embhub.diffusion.datasets.sources import UseForbiddenError
from embhub.errors import PrivacyError, UsageError
from embhub.refusals import DigestMismatchError
from embhub.release import files as release_files
from embhub.site.pins import trust_store
from tests.embhub.diffusion.datasets.conftest import Make, write_embedding
from tests.support.releases import ROOT, make_embedding, make_export, make_release


@pytest.fixture
def pulled(tmp_path: Path) -> Path:
    trust_store.add(make_export(), fingerprint=ROOT.fingerprint)
    make_release().to_folder(tmp_path / "prostate-cspca")
    return tmp_path / "prostate-cspca"


def test_a_release_is_verified_and_says_what_its_audit_found(pulled: Path) -> None:
    origin = sources.find([str(pulled)])[str(pulled)]
    assert origin.signed and origin.name == "radboud/prostate-cspca 1.0.0"
    assert origin.verdict.endswith("(quick suite), the publisher's own audit")


def test_a_release_that_was_changed_is_refused(pulled: Path) -> None:
    (pulled / release_files.EMBEDDING).write_bytes(make_embedding(seed=9).data)
    with pytest.raises(DigestMismatchError):
        sources.find([str(pulled)])


def test_without_a_card_a_person_has_to_answer(base: Path, tmp_path: Path) -> None:
    file = str(write_embedding(tmp_path / "b.safetensors", base, card=False))
    with pytest.raises(UseForbiddenError, match="has no card") as caught:
        sources.find([file], terms_read=["<a>"])
    assert '--allow-no-card "<a>"' in caught.value.hint
    origin = sources.find([file], no_card=["<a>"])[file]
    assert origin.declared and any("you answer" in text for text in origin.warnings)


@pytest.mark.parametrize(
    "answers", [{"licence": "CC-BY-ND-4.0"}, {"licence": "CC-BY-NC-ND-4.0"}, {"synthetic_data": "forbidden"}]
)
def test_what_is_forbidden_no_answer_opens(base: Path, tmp_path: Path, answers: dict[str, str]) -> None:
    file = str(write_embedding(tmp_path / "b.safetensors", base, **answers))
    with pytest.raises(UseForbiddenError, match="no data set may be made"):
        sources.find([file], no_card=["<a>"], terms_read=["<a>"])


@pytest.mark.parametrize(
    "answers", [{"licence": "LicenseRef-Hospital"}, {"out_of_scope": "Generating training data of any kind."}]
)
def test_what_a_person_has_to_read(base: Path, tmp_path: Path, answers: dict[str, str]) -> None:
    file = str(write_embedding(tmp_path / "b.safetensors", base, **answers))
    with pytest.raises(UseForbiddenError, match="for a person to read") as caught:
        sources.find([file], no_card=["<a>"])
    assert '--accept-terms "<a>"' in caught.value.hint
    assert "a person read its terms" in sources.find([file], terms_read=["<a>"])[file].declared[0]


def test_a_card_of_something_else_answers_for_nothing(base: Path, tmp_path: Path) -> None:
    file = write_embedding(tmp_path / "b.safetensors", base)
    write_embedding(file, base, "<other>", card=False)
    with pytest.raises(UsageError, match="card is of <a>"):
        sources.find([str(file)])


def test_no_name_of_a_person_goes_into_the_description(make: Make, base: Path, tmp_path: Path) -> None:
    file = write_embedding(tmp_path / "Smith_John_19610203.safetensors", base)
    with pytest.raises(PrivacyError) as refused:
        sources.find([str(file)])
    assert "mith" not in str(refused.value)
    with pytest.raises(PrivacyError) as refused:
        make(out=tmp_path / "Smith_John_19610203")
    assert "mith" not in str(refused.value) and not (tmp_path / "Smith_John_19610203").exists()


def test_nothing_is_drawn_when_one_is_forbidden(make: Make, base: Path, tmp_path: Path) -> None:
    forbidden = write_embedding(tmp_path / "b.safetensors", base, "<bb>", licence="CC-BY-ND-4.0")
    with pytest.raises(UseForbiddenError):
        make(classes=["sick=mri, <a>", "other=mri, <bb>"], embeddings=[str(tmp_path / "a.safetensors"), str(forbidden)])
    assert not (tmp_path / "drawn").exists()
